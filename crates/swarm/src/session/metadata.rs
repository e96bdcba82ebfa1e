//! Parts of the info dictionary, fetched and served (BEP 9).

use std::collections::VecDeque;

use proto::peer::extension::{METADATA_LEN_MAX, METADATA_PART_LEN};
use proto::peer::{Message, MetadataMessage};

use super::{PeerFault, Session};
use crate::PeerEvent;
use crate::limits::session::{METADATA_COPIES, METADATA_PARTS};

#[derive(Debug, Default)]
pub(super) struct MetadataExchange {
    /// Parts that we asked for.
    asked: Vec<u32>,
    /// Parts that the peer waits for, and whether it gets them.
    wanted: VecDeque<(u32, bool)>,
    /// Parts given so far.
    served: u32,
}

impl Session {
    pub(super) fn request_metadata(&mut self, part: u32) {
        let known_len = self.remote.info.metadata_len;
        let exists = known_len.is_some_and(|len| part_len(len, part).is_some());
        let room = self.metadata.asked.len() < METADATA_PARTS;
        match self.remote.ids.metadata {
            Some(id) if exists && room => {
                self.metadata.asked.push(part);
                self.send_metadata(id, MetadataMessage::Request(part));
            }
            Some(_) | None => self.events.push(PeerEvent::MetadataRejected(part)),
        }
    }

    pub(super) fn on_metadata(&mut self, message: MetadataMessage<'_>) -> Result<(), PeerFault> {
        match message {
            MetadataMessage::Request(part) => self.on_metadata_request(part),
            MetadataMessage::Data { part, total_len, data } => {
                if !self.take_asked(part) {
                    return Ok(());
                }
                let len = self.remote.info.metadata_len.unwrap_or_default();
                let fits = part_len(len, part) == Some(data.len() as u32);
                if !fits || total_len.is_some_and(|total| total != len) {
                    return Err(PeerFault::BadMetadata);
                }
                self.events.push(PeerEvent::Metadata(part, data.to_vec()));
                Ok(())
            }
            MetadataMessage::Reject(part) => {
                if self.take_asked(part) {
                    self.events.push(PeerEvent::MetadataRejected(part));
                }
                Ok(())
            }
            MetadataMessage::Unknown => Ok(()),
        }
    }

    fn take_asked(&mut self, part: u32) -> bool {
        let at = self.metadata.asked.iter().position(|asked| *asked == part);
        at.map(|at| self.metadata.asked.swap_remove(at)).is_some()
    }

    fn on_metadata_request(&mut self, part: u32) -> Result<(), PeerFault> {
        let exchange = &mut self.metadata;
        if exchange.wanted.len() >= 2 * METADATA_PARTS {
            return Err(PeerFault::Flood);
        }
        let len = self.torrent.as_ref().map_or(0, |torrent| torrent.info.raw().len() as u32);
        let fair = exchange.served < METADATA_COPIES * len.div_ceil(METADATA_PART_LEN);
        let given = fair && part_len(len, part).is_some();
        exchange.served += u32::from(given);
        exchange.wanted.push_back((part, given));
        Ok(())
    }

    /// Writes the next part that the peer waits for; false when it waits for none.
    pub(super) fn write_metadata(&mut self) -> bool {
        let Some((part, given)) = self.metadata.wanted.pop_front() else { return false };
        let Some(id) = self.remote.ids.metadata else { return true };
        let raw = self.torrent.as_ref().filter(|_| given).map(|torrent| torrent.info.raw().clone());
        let start = part as usize * METADATA_PART_LEN as usize;
        match raw.as_deref().and_then(|raw| Some((raw, raw.get(start..)?))) {
            Some((raw, rest)) => {
                let data = &rest[..rest.len().min(METADATA_PART_LEN as usize)];
                let total_len = Some(raw.len() as u32);
                self.send_metadata(id, MetadataMessage::Data { part, total_len, data });
            }
            None => self.send_metadata(id, MetadataMessage::Reject(part)),
        }
        true
    }

    fn send_metadata(&mut self, id: u8, message: MetadataMessage<'_>) {
        let mut payload = Vec::new();
        message.encode(&mut payload);
        self.outbox.push(&Message::Extended(id, &payload));
    }
}

/// The length of a part of an info dictionary of `len` bytes; `None` when it has no such part or is
/// too long altogether.
fn part_len(len: u32, part: u32) -> Option<u32> {
    let start = part.checked_mul(METADATA_PART_LEN)?;
    let rest = len.checked_sub(start).filter(|rest| *rest > 0 && len <= METADATA_LEN_MAX)?;
    Some(rest.min(METADATA_PART_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_part_is_short() {
        let part = METADATA_PART_LEN;
        assert_eq!(part_len(part + 5, 0), Some(part));
        assert_eq!(part_len(part + 5, 1), Some(5));
        assert_eq!(part_len(part + 5, 2), None);
        assert_eq!(part_len(part, 1), None);
        assert_eq!(part_len(0, 0), None);
        assert_eq!(part_len(METADATA_LEN_MAX + 1, 0), None);
        assert_eq!(part_len(METADATA_LEN_MAX, u32::MAX), None);
    }
}
