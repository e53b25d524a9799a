//! A line as a USSD screen: `END` closes the session, `CON` keeps it open and says which key asks again.

use super::entry::{Sentence, say};
use super::{Language, Line};

const NOTHING_FOUND: Sentence = say("No payment was found.", "Hakuna malipo yaliyopatikana.");
/// The keys are the menu's to act on: 1 asks again, 0 ends.
const KEYS: Sentence = say("1. Check again\n0. Exit", "1. Angalia tena\n0. Ondoka");

/// The screen of a payment; `is_final` says whether there is anything left to wait for.
pub fn of_payment(line: &Line, is_final: bool, language: Language) -> String {
    let text = line.text(language);
    if is_final {
        format!("END {text}")
    } else {
        format!("CON {text}\n{}", KEYS.text(language))
    }
}

/// The screen when nothing matches.
pub fn of_nothing(language: Language) -> String {
    format!("END {}", NOTHING_FOUND.text(language))
}

#[cfg(test)]
mod tests {
    use super::super::tests::every_line;
    use super::super::{LINE_MAX, septets};
    use super::*;

    #[test]
    fn every_screen_fits_with_its_keys() {
        let mut screens = Language::ALL.map(of_nothing).to_vec();
        for (status, line) in every_line() {
            let is_final = status.is_final();
            screens.extend(Language::ALL.map(|language| of_payment(&line, is_final, language)));
        }
        assert!(screens.len() > 1_000);
        for screen in screens {
            let length =
                septets(&screen).unwrap_or_else(|| panic!("not in the alphabet: {screen}"));
            assert!(length <= LINE_MAX, "{length}: {screen}");
            let is_open = screen.starts_with("CON ");
            assert!(is_open || screen.starts_with("END "), "{screen}");
            assert_eq!(screen.contains("\n1. "), is_open, "{screen}");
        }
    }
}
