//! Sends the load, on time.
//!
//! [`pace`] makes the arrivals ahead and hands each over when it is due, by a [`timer`] of the system on a thread with
//! [`priority`]. [`users`] take them by the [`handover`], send them and read the answers; [`load`] looks on and counts.
//! [`pursue`] sends a fault run's loans until each has a definite answer. [`mod@stop`] is asked for once for all
//! stages of a command. A [`crowd`] misbehaves beside the load.

mod answer;
pub mod crowd;
pub mod due;
pub mod error;
pub mod files;
pub mod handover;
pub mod load;
pub mod memory;
pub mod pace;
pub mod priority;
mod pulse;
pub mod pursue;
pub mod stop;
pub mod timer;
pub mod users;
mod wire;
