//! Free TCP ports on 127.0.0.1 for servers that tests start, and start again at the same place.

use std::net::TcpListener;

use anyhow::{Result, anyhow};
use rand::RngExt;

/// Below the range that Linux gives to outgoing connections: otherwise one of those could hold the port of a broker
/// that is being restarted, or a client that tries again and again could end up connected to itself.
const RANGE: std::ops::Range<u16> = 11_000..30_000;

/// `count` different ports that nothing listens on. Another process may take one before it is used: who starts a server
/// tries again with new ones.
pub fn free(count: usize) -> Result<Vec<u16>> {
    let mut rng = rand::rng();
    let mut held = Vec::new();
    for _ in 0..1000 {
        if held.len() == count {
            break;
        }
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", rng.random_range(RANGE))) {
            held.push(listener);
        }
    }
    let ports: Vec<u16> = held.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.port()).collect();
    if ports.len() == count { Ok(ports) } else { Err(anyhow!("no {count} free ports on 127.0.0.1")) }
}
