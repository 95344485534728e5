// The page's one set of charts.

import { live } from '../ui/store';
import { Charts } from './charts';
import { spanOfSearch } from './window';

export const charts = new Charts(live, spanOfSearch(location.search));
