//! What the fuzz targets check. `check` is also run by the service's tests, over the kept corpus.

pub mod check;
