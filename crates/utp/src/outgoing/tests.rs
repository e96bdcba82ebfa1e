use super::*;
use crate::test_now;

const RTT: Duration = Duration::from_millis(100);

/// A half that has sent `count` packets of ten bytes, a millisecond apart, numbered from 100.
fn sent(count: u16) -> (Outgoing, Instant) {
    let (mut outgoing, start) = (Outgoing::starting_with(Seq(100)), test_now());
    let bytes: Vec<u8> = (0..count * 10).map(|at| at as u8).collect();
    assert_eq!(outgoing.write(&[IoSlice::new(&bytes)], usize::MAX), bytes.len());
    for at in 0..count {
        let piece = outgoing.next_new(10).unwrap();
        outgoing.on_sent(start + Duration::from_millis(at.into()), piece, None);
    }
    (outgoing, start)
}

fn ack(outgoing: &mut Outgoing, now: Instant, last: u16, early: &[u16]) -> Outcome {
    let early = early.iter().map(|&seq| Seq(seq));
    outgoing.on_ack(now, Seq(last), early, true, RTT, RTT * 2)
}

fn lost(outgoing: &mut Outgoing, now: Instant) -> Vec<u16> {
    let mut seqs = Vec::new();
    while let Some(piece) = outgoing.next_lost() {
        seqs.push(piece.seq.0);
        outgoing.on_sent(now, piece, None);
    }
    seqs
}

#[test]
fn acknowledged_bytes_are_forgotten_and_timed() {
    let (mut outgoing, start) = sent(5);
    let outcome = ack(&mut outgoing, start + RTT, 102, &[]);
    assert_eq!((outcome.acked, outgoing.len(), outgoing.flying()), (30, 20, 20));
    assert_eq!(outcome.rtt, Some(RTT - Duration::from_millis(2)));
    assert!(!outcome.congested);
    let outcome = ack(&mut outgoing, start + RTT, 104, &[]);
    assert_eq!((outcome.acked, outgoing.len(), outgoing.is_waiting()), (20, 0, false));
}

#[test]
fn packet_that_three_later_ones_overtook_is_lost() {
    let (mut outgoing, start) = sent(8);
    let now = start + RTT;
    assert!(!ack(&mut outgoing, now, 99, &[101, 102]).congested);
    assert!(lost(&mut outgoing, now).is_empty());
    let outcome = ack(&mut outgoing, now, 99, &[101, 102, 103]);
    assert!(outcome.congested);
    assert_eq!(lost(&mut outgoing, now), [100]);
    // The same round trip counts once.
    let outcome = ack(&mut outgoing, now, 99, &[101, 102, 103, 105, 106, 107]);
    assert!(!outcome.congested);
    assert_eq!(lost(&mut outgoing, now), [104]);
}

#[test]
fn packets_beyond_the_mask_are_not_taken_for_lost() {
    let (mut outgoing, start) = sent(100);
    // Numbers 105 and 150 are lost; the mask has 30 bits, as that of many implementations.
    let mask = |ack: u16| (ack + 2..ack + 32).collect::<Vec<u16>>();
    let now = start + RTT;
    assert!(ack(&mut outgoing, now, 104, &mask(104)).congested);
    assert_eq!(lost(&mut outgoing, now), [105]);
    let later = now + RTT;
    ack(&mut outgoing, later, 149, &mask(149));
    assert_eq!(lost(&mut outgoing, later), [150]);
    assert!(outgoing.poll_timeout().is_none_or(|due| due > later));
    let late = later + RTT * 9;
    outgoing.on_overdue(late, RTT * 2);
    assert!(lost(&mut outgoing, late).is_empty(), "180 to 199 arrived, and nobody said otherwise");
    ack(&mut outgoing, late, 199, &[]);
    assert!(!outgoing.is_waiting());
}

#[test]
fn first_missing_packet_needs_no_mask_once_a_later_one_arrived() {
    let (mut outgoing, start) = sent(8);
    let now = start + RTT;
    ack(&mut outgoing, now, 99, &[101, 102, 103]);
    assert_eq!(lost(&mut outgoing, now), [100]);
    // All after 103 was lost; what was sent again arrived, after them.
    ack(&mut outgoing, now + RTT, 103, &[]);
    assert_eq!(lost(&mut outgoing, now + RTT), [104]);
}

#[test]
fn packet_sent_again_may_be_lost_again() {
    let (mut outgoing, start) = sent(8);
    let now = start + RTT;
    ack(&mut outgoing, now, 99, &[101, 102, 103]);
    assert_eq!(lost(&mut outgoing, now), [100]);
    let bytes = [7; 40];
    outgoing.write(&[IoSlice::new(&bytes)], usize::MAX);
    for _ in 0..4 {
        let piece = outgoing.next_new(10).unwrap();
        outgoing.on_sent(now, piece, None);
    }
    let later = now + RTT;
    ack(&mut outgoing, later, 99, &[101, 102, 103, 104, 105, 106, 107]);
    assert!(lost(&mut outgoing, later).is_empty());
    ack(&mut outgoing, later, 99, &[101, 102, 103, 104, 105, 106, 107, 108, 109, 110]);
    assert_eq!(lost(&mut outgoing, later), [100]);
}

#[test]
fn late_packet_is_lost_when_its_time_is_over() {
    let (mut outgoing, start) = sent(2);
    let now = start + RTT;
    ack(&mut outgoing, now, 99, &[101]);
    assert!(lost(&mut outgoing, now).is_empty());
    let due = outgoing.poll_timeout().unwrap();
    assert_eq!(due, start + RTT * 2);
    assert!(outgoing.on_overdue(due, RTT * 2).congested);
    assert_eq!(lost(&mut outgoing, due), [100]);
}

#[test]
fn three_repeated_acknowledgements_without_a_mask_are_a_loss() {
    let (mut outgoing, start) = sent(8);
    let now = start + RTT;
    for repeats in 1..=4 {
        assert_eq!(ack(&mut outgoing, now, 99, &[]).congested, repeats == 3);
    }
    assert_eq!(lost(&mut outgoing, now), [100]);
}

#[test]
fn after_a_timeout_everything_is_sent_again() {
    let (mut outgoing, start) = sent(4);
    ack(&mut outgoing, start + RTT, 100, &[102]);
    outgoing.on_timeout();
    assert_eq!(outgoing.flying(), 0);
    assert_eq!(lost(&mut outgoing, start + RTT * 9), [101, 103]);
}

#[test]
fn second_timeout_of_one_packet_is_no_news() {
    let (mut outgoing, start) = sent(4);
    for is_news in [true, false, false] {
        assert_eq!(outgoing.on_timeout().congested, is_news);
        lost(&mut outgoing, start + RTT * 9);
    }
    ack(&mut outgoing, start + RTT * 10, 100, &[]);
    assert!(outgoing.on_timeout().congested);
}

#[test]
fn refused_packet_is_sent_again_when_there_is_room() {
    let (mut outgoing, start) = sent(2);
    outgoing.on_room(Seq(101));
    assert_eq!((outgoing.flying(), outgoing.next_lost().unwrap().seq), (10, Seq(101)));
    lost(&mut outgoing, start + RTT);
    for gone in [99, 102] {
        outgoing.on_room(Seq(gone));
        assert_eq!(outgoing.flying(), 20);
    }
    assert!(!ack(&mut outgoing, start + RTT, 101, &[]).congested);
}

#[test]
fn what_was_sent_twice_measures_no_round_trip() {
    let (mut outgoing, start) = sent(1);
    outgoing.on_timeout();
    lost(&mut outgoing, start + RTT);
    let outcome = ack(&mut outgoing, start + RTT * 3, 100, &[]);
    assert_eq!((outcome.acked, outcome.rtt), (10, None));
}

#[test]
fn lost_probe_is_no_congestion() {
    let (mut outgoing, start) = (Outgoing::starting_with(Seq(0)), test_now());
    outgoing.write(&[IoSlice::new(&[1; 100])], usize::MAX);
    for at in 0..5 {
        let piece = outgoing.next_new(20).unwrap();
        outgoing.on_sent(start, piece, (at == 0).then_some(40));
    }
    let outcome = ack(&mut outgoing, start + RTT, 65_535, &[1, 2, 3, 4]);
    assert_eq!((outcome.congested, outcome.probe_lost), (false, Some(40)));
    assert_eq!(lost(&mut outgoing, start + RTT), [0]);
    let outcome = ack(&mut outgoing, start + RTT * 2, 4, &[]);
    assert_eq!((outcome.acked, outcome.probe_passed), (20, None));
}

#[test]
fn losses_that_the_last_packet_shows_are_congestion() {
    let (mut outgoing, start) = sent(8);
    let now = start + RTT;
    ack(&mut outgoing, now, 101, &[]);
    outgoing.lose_last();
    assert_eq!(lost(&mut outgoing, now), [107]);
    let outcome = ack(&mut outgoing, now + RTT, 101, &[107]);
    assert!(outcome.congested);
    assert_eq!(lost(&mut outgoing, now + RTT), [102, 103, 104, 105]);
}

#[test]
fn last_packet_that_was_a_probe_counts_as_lost() {
    let (mut outgoing, start) = (Outgoing::starting_with(Seq(0)), test_now());
    outgoing.write(&[IoSlice::new(&[1; 40])], usize::MAX);
    for probe in [None, Some(40)] {
        let piece = outgoing.next_new(20).unwrap();
        outgoing.on_sent(start, piece, probe);
    }
    let outcome = outgoing.lose_last();
    assert_eq!((outcome.congested, outcome.probe_lost), (false, Some(40)));
}

#[test]
fn bytes_of_a_packet_are_those_that_were_written() {
    let (outgoing, _) = sent(3);
    let piece = Piece { seq: Seq(101), len: 10, is_end: false, offset: 10 };
    let mut out = vec![99];
    outgoing.copy(piece, &mut out);
    assert_eq!(out, [99, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
}

#[test]
fn end_comes_after_all_bytes() {
    let (mut outgoing, start) = sent(1);
    assert_eq!(outgoing.next_new(10), None);
    outgoing.close();
    let end = outgoing.next_new(10).unwrap();
    assert!(end.is_end && end.seq == Seq(101));
    outgoing.on_sent(start, end, None);
    assert!(!outgoing.has_something());
    ack(&mut outgoing, start + RTT, 100, &[]);
    assert!(!outgoing.is_done());
    ack(&mut outgoing, start + RTT, 101, &[]);
    assert!(outgoing.is_done());
}

#[test]
fn acknowledgements_of_what_was_not_sent_are_not_plausible() {
    let (outgoing, _) = sent(3);
    for (ack, plausible) in [(98, true), (99, true), (102, true), (103, false), (20_000, false)] {
        assert_eq!(outgoing.is_plausible(Seq(ack)), plausible, "{ack}");
    }
}
