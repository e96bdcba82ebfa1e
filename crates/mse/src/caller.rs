//! The side that dials.

use proto::InfoHash;

use crate::cipher::Cipher;
use crate::keys::{KEY_LEN, Secret, as_caller, torrent_key};
use crate::limits::PAD_LEN_MAX;
use crate::reader::{Input, length};
use crate::{CONSTANT, Chance, Ciphers, Method, Methods, MseError, Settled};

/// The handshake of who dials. Send [`Caller::take_output`] after the making and after each
/// [`Caller::receive`].
#[derive(Debug)]
pub struct Caller {
    step: Step,
    torrent: InfoHash,
    methods: Methods,
    /// Of our stream, to travel with the handshake.
    beginning: Vec<u8>,
    input: Input,
    output: Vec<u8>,
}

/// What is waited for.
#[derive(Debug)]
enum Step {
    Key(Secret),
    /// The constant behind the padding, as noise.
    Constant(Ciphers, [u8; CONSTANT.len()]),
    Selection(Ciphers),
    Padding(Ciphers, Method, usize),
    Over,
}

impl Caller {
    /// Calls about a torrent. `beginning` is sent as early as possible: the BitTorrent handshake, at most
    /// some kilobytes.
    #[must_use]
    pub fn new(
        torrent: InfoHash,
        methods: Methods,
        beginning: Vec<u8>,
        Chance { secret, mut pad }: Chance,
    ) -> Self {
        let secret = Secret::new(&secret);
        pad.truncate(PAD_LEN_MAX);
        let mut output = secret.public().to_vec();
        output.append(&mut pad);
        Self {
            step: Step::Key(secret),
            torrent,
            methods,
            beginning,
            input: Input::default(),
            output,
        }
    }

    /// Bytes to send.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes in what has come; tells what was settled, once it is.
    ///
    /// # Errors
    /// When the other side breaks the rules or cannot do what we ask.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Settled>, MseError> {
        self.input.push(bytes);
        loop {
            let step = match std::mem::replace(&mut self.step, Step::Over) {
                Step::Key(secret) => match self.input.take::<KEY_LEN>() {
                    Some(public) => self.on_key(&secret, &public)?,
                    None => return self.wait(Step::Key(secret)),
                },
                Step::Constant(ciphers, noise) => {
                    if !self.input.skip_to(&noise, PAD_LEN_MAX)? {
                        return self.wait(Step::Constant(ciphers, noise));
                    }
                    Step::Selection(ciphers)
                }
                Step::Selection(mut ciphers) => {
                    match self.input.take_noise::<6>(&mut ciphers.theirs) {
                        Some(selection) => self.on_selection(ciphers, selection)?,
                        None => return self.wait(Step::Selection(ciphers)),
                    }
                }
                Step::Padding(mut ciphers, method, len) => {
                    if self.input.take_noise_of(len, &mut ciphers.theirs).is_none() {
                        return self.wait(Step::Padding(ciphers, method, len));
                    }
                    let received = self.input.take_rest();
                    return Ok(Some(Settled::new(ciphers, method, Vec::new(), received)));
                }
                Step::Over => return Ok(None),
            };
            self.step = step;
        }
    }

    fn wait(&mut self, step: Step) -> Result<Option<Settled>, MseError> {
        self.step = step;
        Ok(None)
    }

    fn on_key(&mut self, secret: &Secret, public: &[u8; KEY_LEN]) -> Result<Step, MseError> {
        let shared = secret.shared(public)?;
        let mut ciphers = as_caller(shared.ciphers(self.torrent));
        self.output.extend_from_slice(&shared.mark());
        self.output.extend_from_slice(&shared.cover(torrent_key(self.torrent)));
        let mut offer = CONSTANT.to_vec();
        offer.extend_from_slice(&self.methods.provide().to_be_bytes());
        // No padding here: it was meant for what a later version might add.
        offer.extend_from_slice(&0_u16.to_be_bytes());
        let (len, max) = (self.beginning.len(), u16::MAX.into());
        let what = "first payload";
        let len = u16::try_from(len).map_err(|_| MseError::TooLong { what, len, max })?;
        offer.extend_from_slice(&len.to_be_bytes());
        offer.append(&mut self.beginning);
        ciphers.ours.append(&mut self.output, &offer);
        let noise = noise_of_constant(&mut ciphers.theirs);
        Ok(Step::Constant(ciphers, noise))
    }

    fn on_selection(&self, ciphers: Ciphers, selection: [u8; 6]) -> Result<Step, MseError> {
        let [a, b, c, d, len @ ..] = selection;
        let method = Method::selected(u32::from_be_bytes([a, b, c, d]), self.methods)?;
        let len = length(len, "padding", PAD_LEN_MAX)?;
        Ok(Step::Padding(ciphers, method, len))
    }
}

/// What the constant looks like on the wire. It is read with that, too.
fn noise_of_constant(theirs: &mut Cipher) -> [u8; CONSTANT.len()] {
    let mut noise = CONSTANT;
    theirs.apply(&mut noise);
    noise
}
