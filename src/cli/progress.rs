//! A progress bar on standard error, if that is a terminal; otherwise nothing.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const KNOWN: &str = "{msg:.dim} {wide_bar} {human_pos}/{human_len}  {eta} left";
const UNKNOWN: &str = "{spinner} {msg:.dim} {human_pos}";
const TICK: Duration = Duration::from_millis(200);

/// A bar of so many steps, or of nobody knows how many.
pub fn bar(of: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(of, ProgressDrawTarget::stderr());
    let template = if of.is_some() { KNOWN } else { UNKNOWN };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
