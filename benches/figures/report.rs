//! The table: what was measured, against what, and whether it is enough.

use std::io::Write;

use serde_json::json;

/// When a figure is reached.
#[derive(Clone, Copy)]
pub enum Goal {
    /// The ratio to the bound is at least this; aimed at is more.
    AtLeast(f64, f64),
    /// The ratio to the bound is at most this; aimed at is less.
    AtMost(f64, f64),
    /// The value itself is at most this.
    Within(f64, f64),
    /// Only shown.
    Shown,
}

/// One line.
pub struct Figure {
    pub database: &'static str,
    pub rows: usize,
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    pub bound: Option<f64>,
    pub goal: Goal,
}

impl Figure {
    fn ratio(&self) -> Option<f64> {
        self.bound.map(|bound| self.value / bound)
    }

    fn verdict(&self) -> (String, String, &'static str) {
        let (must, aim, measured, more) = match self.goal {
            Goal::AtLeast(must, aim) => (must, aim, self.ratio().unwrap_or(f64::NAN), true),
            Goal::AtMost(must, aim) => (must, aim, self.ratio().unwrap_or(f64::NAN), false),
            Goal::Within(must, aim) => (must, aim, self.value, false),
            Goal::Shown => return (String::new(), String::new(), ""),
        };
        let reaches = |goal: f64| {
            if more {
                measured >= goal
            } else {
                measured <= goal
            }
        };
        let verdict = match (reaches(must), reaches(aim)) {
            (_, true) => "aim reached",
            (true, false) => "reached",
            (false, false) => "MISSED",
        };
        (must.to_string(), aim.to_string(), verdict)
    }

    /// Says on standard error that there is a figure more: the table comes at the end of a long run.
    pub fn tell(&self) {
        let (value, bound) = (rounded(self.value), self.bound.map(rounded));
        let against = bound.map_or(String::new(), |bound| format!(", bound {bound}"));
        let _ = writeln!(
            std::io::stderr(),
            "{} {}: {} {value} {}{against}",
            self.database,
            self.rows,
            self.name,
            self.unit
        );
    }

    fn json(&self) -> String {
        let (must, aim, verdict) = self.verdict();
        json!({
            "database": self.database, "rows": self.rows, "figure": self.name, "value": self.value,
            "unit": self.unit, "bound": self.bound, "ratio": self.ratio(), "must": must, "aim": aim,
            "verdict": verdict,
        })
        .to_string()
    }
}

/// Prints one figure as JSON.
pub fn print_json(figure: &Figure) {
    let _ = writeln!(std::io::stdout(), "{}", figure.json());
}

/// Prints the whole table.
pub fn print_table(figures: &[Figure]) {
    let heading = [
        "database", "rows", "figure", "value", "unit", "bound", "ratio", "must", "aim", "",
    ];
    let mut lines = vec![heading.map(str::to_owned)];
    for figure in figures {
        let (must, aim, verdict) = figure.verdict();
        lines.push([
            figure.database.to_owned(),
            figure.rows.to_string(),
            figure.name.clone(),
            rounded(figure.value),
            figure.unit.to_owned(),
            figure.bound.map(rounded).unwrap_or_default(),
            figure
                .ratio()
                .map(|ratio| format!("{ratio:.3}"))
                .unwrap_or_default(),
            must,
            aim,
            verdict.to_owned(),
        ]);
    }
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = std::io::stdout().lock();
    for line in lines {
        let cells = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                if matches!(column, 1 | 3 | 5 | 6 | 7 | 8) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn rounded(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
