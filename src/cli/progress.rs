//! A bar that shows how far a long command is: on standard error, and only if that is a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where one end is known.
const KNOWN: &str = "{wide_bar} {percent:>3} %  {msg}  {elapsed_precise}  {eta_precise} left";
/// Where none is.
const UNKNOWN: &str = "{spinner}  {msg}  {elapsed_precise}";
/// How often it is drawn at most, a second.
const DRAWN_A_SECOND: u8 = 10;

/// The bar; nothing at all where nobody looks.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of so many steps, or without an end.
    pub fn new(steps: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWN_A_SECOND);
        let bar = ProgressBar::with_draw_target(steps, target);
        let template = if steps.is_some() { KNOWN } else { UNKNOWN };
        // The template is our own; were it wrong, the plain bar would do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Stands at so many steps, and says something.
    pub fn stand_at(&self, steps: u64, message: impl FnOnce() -> String) {
        if self.0.is_hidden() {
            return;
        }
        self.0.set_position(steps);
        self.0.set_message(message());
    }

    /// Does something that prints, with the bar out of the way.
    pub fn aside(&self, act: impl FnOnce()) {
        self.0.suspend(act);
    }

    /// Takes it away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
