//! The side that was dialled.

use proto::InfoHash;

use crate::keys::{KEY_LEN, Secret, Shared, as_answerer};
use crate::limits::{BEGINNING_LEN_MAX, PAD_LEN_MAX};
use crate::reader::{Input, length};
use crate::{CONSTANT, Chance, Ciphers, Method, Methods, MseError, Settled};

/// The handshake of who is dialled. Send [`Answerer::take_output`] after each [`Answerer::receive`].
#[derive(Debug)]
pub struct Answerer {
    step: Step,
    methods: Methods,
    pad: Vec<u8>,
    input: Input,
    output: Vec<u8>,
}

/// What is waited for.
#[derive(Debug)]
enum Step {
    Key(Secret),
    Mark(Shared),
    Torrent(Shared),
    Offer(InfoHash, Ciphers),
    Padding(InfoHash, Ciphers, Method, usize),
    Length(InfoHash, Ciphers, Method),
    Beginning(InfoHash, Ciphers, Method, usize),
    Over,
}

impl Answerer {
    /// Waits for a call about any torrent.
    #[must_use]
    pub fn new(methods: Methods, Chance { secret, mut pad }: Chance) -> Self {
        pad.truncate(PAD_LEN_MAX);
        let step = Step::Key(Secret::new(&secret));
        Self { step, methods, pad, input: Input::default(), output: Vec::new() }
    }

    /// Bytes to send.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes in what has come; tells which torrent it is about and what was settled, once it is. `find` knows
    /// the torrents that may be called about, by [`torrent_key`](crate::torrent_key).
    ///
    /// # Errors
    /// When the other side breaks the rules, asks for a torrent that is not there, or cannot do what we ask.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        find: impl Fn([u8; 20]) -> Option<InfoHash>,
    ) -> Result<Option<(InfoHash, Settled)>, MseError> {
        self.input.push(bytes);
        loop {
            let step = std::mem::replace(&mut self.step, Step::Over);
            match self.advance(step, &find)? {
                Advance::To(step) => self.step = step,
                Advance::Wait(step) => {
                    self.step = step;
                    return Ok(None);
                }
                Advance::Settled(torrent, settled) => return Ok(Some((torrent, settled))),
            }
        }
    }

    fn advance(
        &mut self,
        step: Step,
        find: impl Fn([u8; 20]) -> Option<InfoHash>,
    ) -> Result<Advance, MseError> {
        Ok(match step {
            Step::Key(secret) => match self.input.take::<KEY_LEN>() {
                Some(public) => {
                    let shared = secret.shared(&public)?;
                    self.output.extend_from_slice(&secret.public());
                    self.output.append(&mut self.pad);
                    Advance::To(Step::Mark(shared))
                }
                None => Advance::Wait(Step::Key(secret)),
            },
            Step::Mark(shared) => match self.input.skip_to(&shared.mark(), PAD_LEN_MAX)? {
                true => Advance::To(Step::Torrent(shared)),
                false => Advance::Wait(Step::Mark(shared)),
            },
            Step::Torrent(shared) => match self.input.take() {
                Some(covered) => {
                    let torrent = find(shared.cover(covered)).ok_or(MseError::OtherTorrent)?;
                    let ciphers = as_answerer(shared.ciphers(torrent));
                    Advance::To(Step::Offer(torrent, ciphers))
                }
                None => Advance::Wait(Step::Torrent(shared)),
            },
            Step::Offer(torrent, mut ciphers) => {
                match self.input.take_noise::<14>(&mut ciphers.theirs) {
                    Some(offer) => self.on_offer(torrent, ciphers, &offer)?,
                    None => Advance::Wait(Step::Offer(torrent, ciphers)),
                }
            }
            Step::Padding(torrent, mut ciphers, method, len) => {
                match self.input.take_noise_of(len, &mut ciphers.theirs) {
                    Some(_) => Advance::To(Step::Length(torrent, ciphers, method)),
                    None => Advance::Wait(Step::Padding(torrent, ciphers, method, len)),
                }
            }
            Step::Length(torrent, mut ciphers, method) => {
                match self.input.take_noise(&mut ciphers.theirs) {
                    Some(len) => {
                        let len = length(len, "first payload", BEGINNING_LEN_MAX)?;
                        Advance::To(Step::Beginning(torrent, ciphers, method, len))
                    }
                    None => Advance::Wait(Step::Length(torrent, ciphers, method)),
                }
            }
            Step::Beginning(torrent, mut ciphers, method, len) => {
                match self.input.take_noise_of(len, &mut ciphers.theirs) {
                    Some(beginning) => {
                        let rest = self.input.take_rest();
                        let settled = Settled::new(ciphers, method, beginning, rest);
                        Advance::Settled(torrent, settled)
                    }
                    None => Advance::Wait(Step::Beginning(torrent, ciphers, method, len)),
                }
            }
            Step::Over => Advance::Wait(Step::Over),
        })
    }

    fn on_offer(
        &mut self,
        torrent: InfoHash,
        mut ciphers: Ciphers,
        offer: &[u8; 14],
    ) -> Result<Advance, MseError> {
        let [constant @ .., a, b, c, d, high, low] = *offer;
        if constant != CONSTANT {
            return Err(MseError::BadConstant);
        }
        let method = Method::choose(u32::from_be_bytes([a, b, c, d]), self.methods)?;
        let len = length([high, low], "padding", PAD_LEN_MAX)?;
        let mut selection = CONSTANT.to_vec();
        selection.extend_from_slice(&method.bit().to_be_bytes());
        selection.extend_from_slice(&0_u16.to_be_bytes());
        ciphers.ours.append(&mut self.output, &selection);
        Ok(Advance::To(Step::Padding(torrent, ciphers, method, len)))
    }
}

/// What comes of a step.
enum Advance {
    To(Step),
    Wait(Step),
    Settled(InfoHash, Settled),
}
