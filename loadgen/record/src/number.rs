//! Figures as people read them: `1,234`, `1.2 ms`, `350 µs`, `12.3 s`.

/// What stands in a table where nothing was measured.
pub const NOT_MEASURED: &str = "–";

/// A count with thousands separators.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of events for each second.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", plain(per_second))
}

/// A number without unit: one decimal below 100, none above.
pub fn plain(value: f64) -> String {
    let tenths = (value * 10.0).round() / 10.0;
    if tenths.abs() < 100.0 && tenths.fract() != 0.0 {
        format!("{tenths:.1}")
    } else {
        let sign = if value <= -0.5 { "-" } else { "" };
        format!("{sign}{}", count(value.abs().round() as u64))
    }
}

/// Microseconds, in the unit that suits the size.
pub fn micros(value: u64) -> String {
    let value_us = value as f64;
    if value < 1_000 {
        format!("{value} µs")
    } else if value < 99_950 {
        format!("{:.1} ms", value_us / 1e3)
    } else if value < 999_500 {
        format!("{:.0} ms", value_us / 1e3)
    } else if value < 9_995_000 {
        format!("{:.2} s", value_us / 1e6)
    } else {
        seconds(value_us / 1e6)
    }
}

/// Seconds: `350 ms`, `12.3 s`, `2 min 5 s`, `1 h 2 min`.
pub fn seconds(value: f64) -> String {
    if value <= 0.0 {
        "0 s".to_owned()
    } else if value < 1.0 {
        micros((value * 1e6).round() as u64)
    } else if value < 120.0 {
        format!("{value:.1} s")
    } else {
        let whole = value.round() as u64;
        let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
        if hours > 0 {
            format!("{hours} h {minutes} min")
        } else {
            format!("{minutes} min {rest} s")
        }
    }
}

/// Bytes, in binary units.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if value < 1024 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = larger;
    }
    format!("{scaled:.1} {unit}")
}

/// `value` as `show` writes it, or the sign for nothing measured.
pub fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), show)
}

/// `value` as `show` writes it, or the words for nothing measured.
pub fn or_no_data<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "no data".to_owned(), show)
}

/// A count and its noun: `1 loan`, `2 loans`.
pub fn counted(value: u64, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        let shown: Vec<String> = [
            count(0),
            count(999),
            count(1_234),
            count(1_234_567),
            micros(0),
            micros(350),
            micros(1_234),
            micros(99_949),
            micros(99_950),
            micros(999_499),
            micros(999_500),
            micros(12_340_000),
            seconds(0.0),
            seconds(0.25),
            seconds(12.34),
            seconds(125.0),
            seconds(3_725.0),
            bytes(12),
            bytes(64 << 20),
            rate(499.96),
            rate(0.4),
            rate(12.0),
            plain(-3.2),
            counted(1, "loan"),
            counted(1_200, "loan"),
        ]
        .into();
        assert_eq!(
            shown,
            [
                "0",
                "999",
                "1,234",
                "1,234,567",
                "0 µs",
                "350 µs",
                "1.2 ms",
                "99.9 ms",
                "100 ms",
                "999 ms",
                "1.00 s",
                "12.3 s",
                "0 s",
                "250 ms",
                "12.3 s",
                "2 min 5 s",
                "1 h 2 min",
                "12 B",
                "64.0 MiB",
                "500/s",
                "0.4/s",
                "12/s",
                "-3.2",
                "1 loan",
                "1,200 loans",
            ]
        );
    }
}
