// Puts charts to hover and zoom in the place of the report's static ones. Where anything fails, the static ones stay.

import 'uplot/dist/uPlot.min.css';
import './live.css';
import { read } from './data';
import { heatmap } from './heatmap';
import { percentiles } from './percentiles';
import { timeline } from './timeline';
import { Span } from './span';

const data = read();
const columns = data.heatmap ? data.heatmap.columns.length * data.heatmap.columnSeconds : 0;
const span = new Span(Math.max(data.seconds, columns));
for (const chart of [() => percentiles(data), () => timeline(data, span), () => heatmap(data, span)]) {
  try {
    chart();
  } catch (error) {
    // Told to whoever looks; the page is whole without it.
    reportError(error);
  }
}
