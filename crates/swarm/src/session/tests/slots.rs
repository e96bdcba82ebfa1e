//! Places in the queue for a slot (`docs/protocols/slots.md`).

use proto::peer::extension::local;
use proto::peer::{ExtensionHandshake, Place};

use super::*;
use crate::test_now;

/// A session whose peer takes `teem_slots` under this number, if any.
fn beside(now: Instant, number: Option<u8>) -> Session {
    let mut session = opened(now, Kind::Fast, Bitfield::full(PIECES));
    let mut payload = Vec::new();
    ExtensionHandshake { teem_slots: number, ..Default::default() }.encode(&mut payload);
    hear(now, &mut session, Message::Extended(0, &payload)).unwrap();
    session
}

fn place(session: &mut Session, now: Instant, place: usize) -> Vec<u8> {
    session.handle_command(now, PeerCommand::Place(Place::new(place)));
    written(now, session)
}

#[test]
fn only_the_latest_place_is_told_and_only_to_who_waits_and_understands_it() {
    let now = test_now();
    let mut session = beside(now, Some(9));
    session.handle_command(now, PeerCommand::Place(Place::new(5)));
    assert_eq!(place(&mut session, now, 4), [0, 0, 0, 6, 20, 9, 0, 0, 0, 4]);
    assert_eq!(place(&mut session, now, 4), b"", "it knows");
    session.handle_command(now, PeerCommand::Choke(false));
    assert_eq!(place(&mut session, now, 3), [0, 0, 0, 1, 1], "it has a slot, which is all");
    session.handle_command(now, PeerCommand::Choke(true));
    assert_eq!(written(now, &mut session), [0, 0, 0, 1, 0], "and then no place that is known");
    assert_eq!(place(&mut session, now, 4).len(), 10, "the same place is news");
    let mut other = beside(now, None);
    assert_eq!(place(&mut other, now, 4), b"");
}

#[test]
fn a_place_is_heard_until_the_choke_state_changes() {
    let now = test_now();
    let mut session = beside(now, None);
    let mut told =
        |payload: &[u8]| hear(now, &mut session, Message::Extended(local::SLOTS, payload));
    assert_eq!(told(&[0, 0, 0, 2]), Ok(vec!["Place(Some(Place(2)))".to_owned()]));
    assert_eq!(told(&[0, 0, 0, 2]), Ok(vec![]), "no news");
    assert_eq!(told(&[255; 4]), Ok(vec!["Place(None)".to_owned()]), "nobody has such a place");
    assert_eq!(told(&[0, 0, 0, 2]), Ok(vec!["Place(Some(Place(2)))".to_owned()]));
    assert!(matches!(told(&[0, 0, 2]), Err(PeerFault::Malformed(_))));
    let heard = hear(now, &mut session, Message::Unchoke);
    assert_eq!(heard, Ok(vec!["Unchoked".to_owned()]));
    let heard = hear(now, &mut session, Message::Choke);
    assert_eq!(heard, Ok(vec!["Choked".to_owned()]));
    let again = hear(now, &mut session, Message::Extended(local::SLOTS, &[0, 0, 0, 2]));
    assert_eq!(again, Ok(vec!["Place(Some(Place(2)))".to_owned()]));
}
