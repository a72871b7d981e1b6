//! docs/attacks.md is the table of the list of guests, and shows no attack that
//! came through.

use belljar_attacks::GUESTS;

/// The rows of the table, cell by cell.
fn rows() -> Vec<Vec<&'static str>> {
    include_str!("../../docs/attacks.md")
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

#[test]
fn the_page_tells_every_guest_of_the_list_and_no_other() {
    let told: Vec<Vec<&str>> = rows().into_iter().map(|row| row[..3].to_vec()).collect();
    let listed: Vec<Vec<&str>> = GUESTS
        .iter()
        .map(|guest| vec![guest.name, guest.tries, guest.layer])
        .collect();
    assert!(told == listed, "run `cargo xtask attacks --write`");
}

#[test]
fn every_event_that_is_expected_was_seen() {
    for (row, guest) in rows().iter().zip(GUESTS) {
        assert_eq!(row[3], guest.event.word(), "{row:?}");
    }
}

#[test]
fn no_attack_came_through() {
    for (row, guest) in rows().iter().zip(GUESTS) {
        for (preset, cell) in ["standard", "strict"].into_iter().zip(&row[4..]) {
            if guest.is_stopped_in(preset) {
                // Some need root to be prepared, and none needs a user.
                assert!(["root", "root, user"].contains(cell), "{preset}: {row:?}");
            } else {
                assert_eq!(*cell, "allowed", "{preset}: {row:?}");
            }
        }
    }
}

#[test]
fn no_two_guests_have_one_name_and_each_tells_what_it_tries() {
    for (at, guest) in GUESTS.iter().enumerate() {
        assert!(GUESTS[..at].iter().all(|other| other.name != guest.name));
        assert!(guest.tries.ends_with('.') && !guest.tries.contains('|'));
    }
}
