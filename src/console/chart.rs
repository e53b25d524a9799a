//! Volume and success rate as a drawing made here: bars and a line in whole numbers, in a box that a stylesheet may stretch.
//! What it shows stands beside it as a table too.

use std::fmt::Write as _;

use super::text;
use crate::domain::overview::{Span, Step};
use crate::domain::statistics::success_rate;

/// Units of the box: so many wide for each step, so many high.
const STEP: i64 = 100;
const HEIGHT: i64 = 1_000;
/// The gap at each side of a bar.
const GAP: i64 = 14;

/// The drawing and its table.
pub struct Chart {
    /// The box.
    pub view_box: String,
    /// Lines at the quarters.
    pub grid: String,
    /// The bars, from the bottom up: success, failed, pending.
    pub bars: Vec<Bar>,
    /// The line of the success rate; broken where nothing was finished.
    pub line: String,
    /// A dot for each point of the line.
    pub dots: Vec<(i64, i64)>,
    /// What the top of the box stands for.
    pub top: String,
    /// The half of it.
    pub middle: String,
    /// Names of some steps, from left to right.
    pub labels: Vec<String>,
    /// What it shows, in a sentence.
    pub summary: String,
    /// The same as a table.
    pub rows: Vec<ChartRow>,
}

/// A part of a bar.
pub struct Bar {
    pub x: i64,
    pub y: i64,
    pub width: i64,
    pub height: i64,
    pub class: &'static str,
    /// What it says when pointed at.
    pub title: String,
}

/// A line of the table.
pub struct ChartRow {
    pub name: String,
    pub success: String,
    pub failed: String,
    pub pending: String,
    pub rate: String,
}

/// Success in percent of what is finished; a dash of nothing.
pub fn rate(success: i64, failed: i64) -> String {
    match success + failed {
        0 => "–".to_owned(),
        finished => format!("{} %", success_rate(success, finished)),
    }
}

impl Chart {
    /// Draws the steps of a span.
    pub fn new(span: Span, steps: &[Step]) -> Self {
        let top = nice(steps.iter().map(Step::total).max().unwrap_or_default());
        let count = i64::try_from(steps.len()).unwrap_or(1).max(1);
        let mut chart = Self {
            view_box: format!("0 0 {} {HEIGHT}", count * STEP),
            grid: (0..=4)
                .map(|quarter| format!("M0 {}H{}", quarter * HEIGHT / 4, count * STEP))
                .collect(),
            bars: Vec::new(),
            line: String::new(),
            dots: Vec::new(),
            top: text::count(top),
            middle: if top % 2 == 0 {
                text::count(top / 2)
            } else {
                String::new()
            },
            labels: labels(span, steps),
            summary: summary(span, steps),
            rows: Vec::new(),
        };
        let mut is_broken = true;
        for (index, step) in (0_i64..).zip(steps) {
            let name = name(span, step);
            let rate = rate(step.success, step.failed);
            chart.add_bars(index, step, top, &format!("{name}: {rate} success"));
            match step.success + step.failed {
                0 => is_broken = true,
                finished => {
                    let point = (
                        index * STEP + STEP / 2,
                        HEIGHT - step.success * HEIGHT / finished,
                    );
                    let word = if is_broken { 'M' } else { 'L' };
                    let _ = write!(chart.line, "{word}{} {}", point.0, point.1);
                    chart.dots.push(point);
                    is_broken = false;
                }
            }
            chart.rows.push(ChartRow {
                name,
                success: text::count(step.success),
                failed: text::count(step.failed),
                pending: text::count(step.pending),
                rate,
            });
        }
        chart
    }

    fn add_bars(&mut self, index: i64, step: &Step, top: i64, title: &str) {
        let mut y = HEIGHT;
        for (count, class, word) in [
            (step.success, "success", "success"),
            (step.failed, "failed", "failed"),
            (step.pending, "pending", "pending"),
        ] {
            // What is there is seen, however little it is.
            let height = (count * HEIGHT / top).max(if count > 0 { 6 } else { 0 });
            if height > 0 {
                y -= height;
                self.bars.push(Bar {
                    x: index * STEP + GAP,
                    y: y.max(0),
                    width: STEP - 2 * GAP,
                    height,
                    class,
                    title: format!("{title}, {} {word}", text::count(count)),
                });
            }
        }
    }
}

/// The first of 1, 2, 4, 5, 10, 20, … that is not smaller.
fn nice(largest: i64) -> i64 {
    let mut unit = 1_i64;
    loop {
        for factor in [1, 2, 4, 5] {
            let candidate = unit.saturating_mul(factor);
            if candidate >= largest || candidate == i64::MAX {
                return candidate;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

fn name(span: Span, step: &Step) -> String {
    let start = step.ends_at - span.step();
    let format = if span.is_by_hour() { "%H:00" } else { "%-d %b" };
    start.format(format).to_string()
}

/// Few enough for a phone: every sixth hour, every day of a week, every sixth day of a month.
fn labels(span: Span, steps: &[Step]) -> Vec<String> {
    let every = if span == Span::Week { 1 } else { 6 };
    steps
        .iter()
        .step_by(every)
        .map(|step| name(span, step))
        .collect()
}

fn summary(span: Span, steps: &[Step]) -> String {
    let total: i64 = steps.iter().map(Step::total).sum();
    let (success, failed) = steps.iter().fold((0, 0), |(success, failed), step| {
        (success + step.success, failed + step.failed)
    });
    let unit = if span.is_by_hour() { "hour" } else { "day" };
    let busiest = steps.iter().max_by_key(|step| step.total());
    let busiest = busiest
        .filter(|step| step.total() > 0)
        .map_or_else(String::new, |step| {
            format!(
                " The busiest {unit} began at {} with {}.",
                name(span, step),
                text::count(step.total())
            )
        });
    format!(
        "{} payments by {unit}, {} of the finished ones successful.{busiest}",
        text::count(total),
        rate(success, failed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    fn steps(counts: &[(i64, i64, i64)]) -> Vec<Step> {
        let start = SystemClock.now();
        (1..)
            .zip(counts)
            .map(|(hour, (success, failed, pending))| Step {
                ends_at: start + chrono::Duration::hours(hour),
                success: *success,
                failed: *failed,
                pending: *pending,
            })
            .collect()
    }

    #[test]
    fn the_top_is_a_round_number_that_holds_everything() {
        for (largest, top) in [
            (0, 1),
            (1, 1),
            (3, 4),
            (6, 10),
            (11, 20),
            (41, 50),
            (501, 1_000),
        ] {
            assert_eq!(nice(largest), top, "{largest}");
        }
        assert_eq!(nice(i64::MAX), i64::MAX);
    }

    #[test]
    fn bars_stand_on_each_other_and_the_line_breaks_where_nothing_finished() {
        let chart = Chart::new(Span::Day, &steps(&[(3, 1, 0), (0, 0, 2), (1, 1, 0)]));
        let parts: Vec<_> = chart
            .bars
            .iter()
            .map(|bar| (bar.class, bar.y, bar.height))
            .collect();
        assert_eq!(
            parts,
            [
                ("success", 250, 750),
                ("failed", 0, 250),
                ("pending", 500, 500),
                ("success", 750, 250),
                ("failed", 500, 250),
            ]
        );
        assert_eq!(chart.line, "M50 250M250 500");
        assert_eq!(chart.view_box, "0 0 300 1000");
        assert!(chart.summary.starts_with("8 payments by hour, 66.67 % of"));
        assert_eq!(chart.rows.len(), 3);
        assert_eq!(chart.rows[1].rate, "–");
    }

    #[test]
    fn nothing_at_all_is_drawn_as_nothing() {
        let chart = Chart::new(Span::Week, &steps(&[(0, 0, 0)]));
        assert!(chart.bars.is_empty() && chart.line.is_empty());
        assert_eq!(chart.top, "1");
    }
}
