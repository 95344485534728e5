// The stretch of time that all time charts show.

/** The least that can be zoomed to. */
const SECONDS_MIN = 3;

export class Span {
  readonly #whole: number;
  #from = 0;
  #to: number;
  readonly #followers: ((from: number, to: number) => void)[] = [];

  constructor(seconds: number) {
    this.#whole = Math.max(1, seconds);
    this.#to = this.#whole;
  }

  range(): [number, number] {
    return [this.#from, this.#to];
  }

  isZoomed(): boolean {
    return this.#from > 0 || this.#to < this.#whole;
  }

  /** Shows from one instant to another, as far as there is one. */
  show(from: number, to: number): void {
    const length = Math.min(this.#whole, Math.max(SECONDS_MIN, to - from));
    this.#from = Math.max(0, Math.min(from, this.#whole - length));
    this.#to = this.#from + length;
    for (const follower of this.#followers) follower(this.#from, this.#to);
  }

  all(): void {
    this.show(0, this.#whole);
  }

  /** Shows `factor` times as much, around `at` or the middle. */
  zoom(factor: number, at: number | null): void {
    const middle = at ?? (this.#from + this.#to) / 2;
    this.show(middle - (middle - this.#from) * factor, middle + (this.#to - middle) * factor);
  }

  /** Moves so that `at` is in the middle. */
  centre(at: number): void {
    const half = (this.#to - this.#from) / 2;
    this.show(at - half, at + half);
  }

  follow(follower: (from: number, to: number) => void): void {
    this.#followers.push(follower);
  }
}
