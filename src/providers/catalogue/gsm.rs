//! How much room a text takes on a phone that knows the GSM 7-bit alphabet only (3GPP TS 23.038, GSM 03.38): most
//! characters take one septet, those of the extension table two, all others do not exist there.

/// The basic table without its escape, in the order of the standard.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿\
                     abcdefghijklmnopqrstuvwxyzäöñüà";
/// The extension table: an escape and a character.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// The septets a text takes; `None` if it has a character that the alphabet lacks.
pub fn septets(text: &str) -> Option<usize> {
    text.chars().map(septets_of).sum()
}

/// Whether a character takes exactly one septet.
pub fn is_basic(character: char) -> bool {
    septets_of(character) == Some(1)
}

fn septets_of(character: char) -> Option<usize> {
    if BASIC.contains(character) {
        Some(1)
    } else if EXTENSION.contains(character) {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_as_long_as_the_standard_says() {
        // 128 places, one of them the escape.
        assert_eq!(BASIC.chars().count(), 127);
        assert_eq!(EXTENSION.chars().count(), 10);
        let mut all: Vec<char> = BASIC.chars().chain(EXTENSION.chars()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 137);
    }

    #[test]
    fn extended_characters_take_two_and_foreign_ones_do_not_fit() {
        assert_eq!(septets("Ksh 1,200.00\n1. OK"), Some(18));
        assert_eq!(septets("[€]"), Some(6));
        for foreign in ["’", "…", "–", "ç", "`", "😀"] {
            assert_eq!(septets(foreign), None, "{foreign}");
        }
    }
}
