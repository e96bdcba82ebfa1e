//! How many connections there may be, in all and from one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{CONNECTIONS_MAX, CONNECTIONS_OF_ONE_MAX};

/// Counts connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doors(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    of: BTreeMap<IpAddr, usize>,
}

/// Room for one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Door {
    doors: Doors,
    ip: IpAddr,
}

impl Doors {
    /// Lets one in from `ip`, if there is room.
    pub(crate) fn enter(&self, ip: IpAddr) -> Option<Door> {
        let ip = ip.to_canonical();
        let mut inside = self.0.lock();
        let here = inside.of.get(&ip).copied().unwrap_or_default();
        if inside.all >= CONNECTIONS_MAX || here >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        inside.all += 1;
        inside.of.insert(ip, here + 1);
        Some(Door { doors: self.clone(), ip })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut inside = self.doors.0.lock();
        inside.all -= 1;
        match inside.of.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(inside.of.remove(&self.ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_the_room() {
        let doors = Doors::default();
        let enter = |host: u8| doors.enter([10, 0, 0, host].into());
        let first: Vec<_> = (0..CONNECTIONS_MAX).filter_map(|_| enter(1)).collect();
        assert_eq!(first.len(), CONNECTIONS_OF_ONE_MAX);
        let others: Vec<_> = (2..=255).filter_map(enter).collect();
        assert_eq!(first.len() + others.len(), CONNECTIONS_MAX);
        drop((first, others));
        assert!(enter(1).is_some(), "who leaves makes room");
        assert_eq!(doors.0.lock().of.len(), 0);
    }
}
