//! Datagrams: `register` and `list_seeder`. One thread for each address.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use proto::address::is_local;
use proto::tracker::text::{Listed, Register, Request, SeederList};
use registry::{Chosen, Registration, Secs};
use sys::datagrams::{self, Batch};

use super::{TextShared, delivery};
use crate::limits::{TEXT_BATCH, TEXT_LISTED_MAX, UDP_WAIT};

/// Answers until the tracker stops. `listening` is the socket's address.
pub(super) fn run(text: &Arc<TextShared>, socket: &UdpSocket, listening: IpAddr) {
    let mut batch = Batch::new(TEXT_BATCH);
    let mut packet = Vec::new();
    while !text.gate.stop().is_cancelled() {
        let count = match batch.receive(socket) {
            Ok(count) => count,
            Err(error) if datagrams::is_transient(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "receiving datagrams of the text protocol");
                std::thread::sleep(UDP_WAIT);
                continue;
            }
        };
        let start = Instant::now();
        let now = text.shared.swarms.tick();
        let mut answers = 0;
        for place in 0..count {
            batch.answer(place, |from, question, answer| {
                packet.clear();
                handle(text, now, (from.ip().to_canonical(), listening), question, &mut packet);
                let len = packet.len().min(answer.len());
                answer[..len].copy_from_slice(&packet[..len]);
                answers += u64::from(len > 0);
                len
            });
        }
        let sent = batch.send(socket).unwrap_or(0) as u64;
        text.shared.latencies.text_batch.since(start);
        let counters = text.counters();
        counters.received.fetch_add(count as u64, Ordering::Relaxed);
        counters.unsent.fetch_add(answers.saturating_sub(sent), Ordering::Relaxed);
    }
}

/// Leaves the answer in `packet`; nothing there is silence.
pub(super) fn handle(
    text: &Arc<TextShared>,
    now: Secs,
    (from, listening): (IpAddr, IpAddr),
    question: &[u8],
    packet: &mut Vec<u8>,
) {
    let counters = text.counters();
    let count = |counter: &AtomicU64| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    match Request::decode(question) {
        Ok(Request::Register(register)) => {
            let taken = note(text, now, (from, listening), &register);
            count(if taken { &counters.registers } else { &counters.refused });
        }
        Ok(Request::ListSeeder) if text.may_hear(now, from) => {
            list(text, packet);
            count(&counters.lists);
        }
        Ok(Request::ListSeeder) => {
            packet.extend_from_slice(b"[]");
            count(&counters.unproven);
        }
        Err(error) => {
            tracing::trace!(%from, %error, "not of the text protocol");
            count(&counters.malformed);
        }
    }
}

/// Notes a seeder, and goes for its chunk list if that is missing. False when it is not taken.
fn note(
    text: &Arc<TextShared>,
    now: Secs,
    (from, listening): (IpAddr, IpAddr),
    register: &Register,
) -> bool {
    let Register { name, ip, port, size } = register;
    // A seeder beside the tracker is reached from afar at the address that both share.
    let shared = is_local(from) && text.is_external(ip.to_canonical());
    let shown = if shared { ip.to_canonical() } else { from };
    let proven = text.proofs.lock().holds(now, from);
    let addr = SocketAddr::new(shown, *port);
    let wish = Registration { name, source: from, addr, size: *size, proven };
    let noted = text.seeders.lock().register(now, &wish);
    match noted {
        Ok(lacks_list) => {
            tracing::debug!(%name, %addr, "seeder registered");
            text.registered.notify_waiters();
            if lacks_list {
                delivery::fetch(text, listening, from, proven);
            }
            true
        }
        Err(error) => {
            tracing::debug!(%name, %from, %error, "seeder not registered");
            false
        }
    }
}

/// The seeders, or a choice among them when there are too many, in the order of their names.
fn list(text: &TextShared, packet: &mut Vec<u8>) {
    let page = Arc::clone(&text.page.lock());
    let seeders = text.seeders.lock();
    let mut chosen = Vec::with_capacity(TEXT_LISTED_MAX);
    seeders.choose(page.rows.len(), TEXT_LISTED_MAX, rand::random(), |one| match one {
        // The catalogue's names are the catalogue's.
        Chosen::Seeder(seeder) if page.has(&seeder.name) => {}
        Chosen::Seeder(seeder) => chosen.push((&*seeder.name, seeder.addr, seeder.size.into())),
        Chosen::Other(at) => {
            let row = &page.rows[at];
            chosen.push((&row.name, row.addr, row.size));
        }
    });
    // They come in a circle that begins anywhere: what does not fit is any of them.
    let mut listed: Vec<_> = Vec::with_capacity(chosen.len());
    let mut probe = Vec::new();
    let mut fitting = SeederList::new(&mut probe);
    for (name, addr, size) in chosen {
        let row = Listed { name, addr, lists_port: text.lists_port, size };
        if fitting.push(&row) {
            listed.push(row);
        }
    }
    listed.sort_by_key(|row| row.name);
    let mut list = SeederList::new(packet);
    for row in &listed {
        // In another order they are as long.
        list.push(row);
    }
    list.finish();
}
