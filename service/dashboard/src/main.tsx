import { createRoot } from 'react-dom/client';
import './style.css';
import { charts } from './charts/shared';
import { setLocale } from './format';
import { App } from './page/app';
import { startTitle } from './page/title';
import { live, session } from './ui/store';
import { startTheme } from './ui/theme';

setLocale(navigator.language);
startTheme(() => charts.repaint());
session.onToken = () => live.tokenChanged();
session.start();
live.start();
startTitle(live);
// The canvas takes the font that is there when it draws.
void document.fonts.load('11px "Geist Variable"').then(() => charts.repaint());

const root = document.getElementById('root');
if (root !== null) createRoot(root).render(<App />);
