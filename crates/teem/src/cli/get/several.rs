//! Several targets of one command: what goes wrong with one stops none of the others.

use crate::cli::Context;
use crate::exit::{self, Failure};

/// How the targets ended.
pub(super) struct Ends<'a> {
    context: &'a Context,
    /// The person named more than one: each error says which it is about.
    several: bool,
    worst: Option<anyhow::Error>,
}

impl<'a> Ends<'a> {
    pub(super) const fn new(several: bool, context: &'a Context) -> Self {
        Self { context, several, worst: None }
    }

    /// One has ended. Of several, what is wrong is said at once.
    pub(super) fn note(&mut self, target: &str, ended: anyhow::Result<()>) {
        let Err(error) = ended else { return };
        let status = exit::status(&error);
        let message = format!("{error:#}");
        let error = if self.several && !message.is_empty() {
            let message = message.replace('\n', " ");
            self.context.output.error(&format!("{target}: {message}"), exit::hint(&error));
            Failure::new(status, "").into()
        } else {
            error
        };
        let worse =
            self.worst.as_ref().is_none_or(|worst| exit::status(worst) as u8 <= status as u8);
        if worse {
            self.worst = Some(error);
        }
    }

    /// The worst of them.
    pub(super) fn end(self) -> anyhow::Result<()> {
        self.worst.map_or(Ok(()), Err)
    }
}
