//! Rules that must hold after every step.

use std::time::Duration;

use proto::Block;
use swarm::{PeerEvent, PeerFault};

use crate::content::Content;
use crate::link::End;
use crate::node::Node;
use crate::plan::Behaviour;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, in virtual time.
    pub at: Duration,
    /// Which rule, and by whom.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {:.3} s: {}", self.at.as_secs_f64(), self.what)
    }
}

impl std::error::Error for Violation {}

type Checked = Result<(), String>;

/// Conservation: every request ends once, and only requests end.
pub(crate) fn on_events(end: &mut End, events: &[PeerEvent]) -> Checked {
    for event in events {
        let (PeerEvent::Block(block, _) | PeerEvent::Rejected(block) | PeerEvent::Dropped(block)) =
            event
        else {
            continue;
        };
        take(&mut end.owed, *block)?;
    }
    let owed = end.owed.len();
    let outstanding = end.session.as_ref().map_or(owed, swarm::Session::outstanding);
    if outstanding != owed {
        return Err(format!("a session counts {outstanding} requests under way, not {owed}"));
    }
    Ok(())
}

fn take(owed: &mut Vec<Block>, block: Block) -> Checked {
    let place = owed.iter().position(|owed| *owed == block);
    let place = place.ok_or_else(|| format!("{block:?} ended and was not under way"))?;
    owed.swap_remove(place);
    Ok(())
}

/// What an honest session does is no fault in the eyes of another.
pub(crate) fn on_fault(author: &Node, fault: &PeerFault) -> Checked {
    let excused = matches!(fault, PeerFault::Timeout | PeerFault::NotReading)
        || author.spec.behaviour != Behaviour::Honest;
    if excused { Ok(()) } else { Err(format!("an honest peer was accused: {fault}")) }
}

/// What is stored is right, and there is a bound to what is held in memory.
pub(crate) fn on_node(node: &Node, content: &Content) -> Checked {
    let piece_len = u64::from(content.geometry.nominal_piece_len());
    let budget = node.spec.piece_budget.max(2 * piece_len);
    let held = node.buffers_held * u64::from(proto::BLOCK_LEN);
    if held > budget {
        return Err(format!("{held} bytes of open pieces, above the budget of {budget}"));
    }
    Ok(())
}

/// Every honest leecher that stayed has every byte.
pub(crate) fn at_end(node: &Node, content: &Content) -> Checked {
    if node.spec.behaviour != Behaviour::Honest || !node.alive {
        return Ok(());
    }
    for piece in node.disk.have().iter() {
        let truth = content.read(content.geometry.whole(piece));
        if node.disk.piece(piece) != Some(truth) {
            return Err(format!("piece {} is stored and wrong", piece.0));
        }
    }
    if node.disk.have().is_full() { Ok(()) } else { Err("it does not have everything".into()) }
}
