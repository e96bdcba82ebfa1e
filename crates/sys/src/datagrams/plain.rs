//! One packet at a time, with the standard library alone.

use super::{ANSWER_LEN_MAX, QUESTION_LEN_MAX, SocketAddr, UdpSocket, io};

/// Nothing to do: the system picks the source of answers.
///
/// # Errors
/// None here.
pub fn prepare(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Place for one question and its answer.
#[derive(Debug)]
pub struct Batch {
    // One byte more, to notice what is too long.
    question: Box<[u8; QUESTION_LEN_MAX + 1]>,
    question_len: usize,
    from: Option<SocketAddr>,
    answer: Box<[u8; ANSWER_LEN_MAX]>,
    answer_len: usize,
}

impl Batch {
    /// A batch; it has one place whatever is asked for.
    #[must_use]
    pub fn new(_places: usize) -> Self {
        Self {
            question: Box::new([0; QUESTION_LEN_MAX + 1]),
            question_len: 0,
            from: None,
            answer: Box::new([0; ANSWER_LEN_MAX]),
            answer_len: 0,
        }
    }

    /// Waits for packets; tells how many came.
    ///
    /// # Errors
    /// Those of the system, see [`super::is_transient`].
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.answer_len = 0;
        self.from = None;
        let (len, from) = socket.recv_from(&mut self.question[..])?;
        self.question_len = len;
        self.from = Some(from);
        Ok(1)
    }

    /// The question at a place and who asks, if it is one that [`Batch::answer`] would have answered.
    #[must_use]
    pub fn question(&self, place: usize) -> Option<(SocketAddr, &[u8])> {
        let fits = place == 0 && self.question_len <= QUESTION_LEN_MAX;
        self.from.filter(|_| fits).map(|from| (from, &self.question[..self.question_len]))
    }

    /// Has the question at a place answered: `answerer` gets the asker, the question and room for the
    /// answer, and tells the answer's length, 0 for silence.
    pub fn answer(
        &mut self,
        place: usize,
        answerer: impl FnOnce(SocketAddr, &[u8], &mut [u8]) -> usize,
    ) {
        let Some(from) = self.from else { return };
        if place == 0 && self.question_len <= QUESTION_LEN_MAX {
            let question = &self.question[..self.question_len];
            self.answer_len = answerer(from, question, &mut self.answer[..]).min(ANSWER_LEN_MAX);
        }
    }

    /// The question at a place has no answer.
    #[must_use]
    pub fn is_silent(&self, place: usize) -> bool {
        place > 0 || self.answer_len == 0
    }

    /// Sends the answers; tells how many went out.
    ///
    /// # Errors
    /// Those of the system, see [`super::is_transient`].
    pub fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let Some(to) = self.from.take() else { return Ok(0) };
        if self.answer_len == 0 {
            return Ok(0);
        }
        socket.send_to(&self.answer[..self.answer_len], to)?;
        Ok(1)
    }
}
