//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::TestbedError;

/// Below the range that Linux takes outgoing ports from. A client that keeps connecting to a killed server's port
/// within that range would one day be given the same port as its own, and be connected to itself.
const FIRST: u16 = 15_000;
const LAST: u16 = 31_999;

/// A port of a loopback address that nothing listens on now. Another process may take it before the caller does, so callers try again.
pub(crate) fn free(host: Ipv4Addr) -> Result<u16, TestbedError> {
    static START: OnceLock<u16> = OnceLock::new();
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    const COUNT: u16 = LAST - FIRST + 1;
    // Each process starts elsewhere, so that two testbeds seldom meet.
    let start =
        *START.get_or_init(|| (getrandom::u32().unwrap_or_default() % u32::from(COUNT)) as u16);
    (0..COUNT)
        .map(|_| {
            let step = TAKEN.fetch_add(1, Ordering::Relaxed) % COUNT;
            FIRST + (start + step) % COUNT
        })
        .find(|port| TcpListener::bind((host, *port)).is_ok())
        .ok_or(TestbedError::NoFreePort(FIRST, LAST))
}
