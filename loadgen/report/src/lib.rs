//! Tells people and programs of a run: HTML, JSON, JUnit, Markdown, the last screen. Knows no stores and no clocks.

mod axis;
mod buckets;
pub mod capacity;
pub mod chaos;
mod chart;
pub mod comparison;
mod files;
mod flow;
pub mod gate;
pub mod html;
pub mod json;
pub mod junit;
mod live;
pub mod markdown;
mod markup;
mod series;
pub mod terminal;
mod words;

pub use files::{Folder, ReportError, point_latest, write, write_data, write_index, write_pages};
pub use flow::unbalanced;
