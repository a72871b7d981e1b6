//! A domain of places that nobody's root shows: what a version makes of them.

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> UnixPath {
    UnixPath::new(text).unwrap()
}

fn place(at: &str, access: Access) -> Place {
    Place {
        path: path(at),
        access,
        optional: false,
    }
}

/// The numbers of linux/landlock.h for each version of the interface.
#[test]
fn each_version_handles_the_rights_that_it_knows() {
    for (abi, files, scopes) in [
        (0, 0, 0),
        (1, 0x1fff, 0),
        (2, 0x3fff, 0),
        (3, 0x7fff, 0),
        (4, 0x7fff, 0),
        (5, 0xffff, 0),
        (6, 0xffff, 3),
        (7, 0xffff, 3),
        (99, 0xffff, 3),
    ] {
        let domain = Domain::new(abi, [], Tcp::Open);
        assert_eq!(
            (domain.files, domain.network, domain.scopes),
            (files, 0, scopes),
            "ABI {abi}"
        );
    }
}

#[test]
fn ports_are_held_only_where_nothing_is_to_be_reached_and_from_version_4() {
    for (abi, network) in [(3, 0), (4, 3), (7, 3)] {
        assert_eq!(Domain::new(abi, [], Tcp::Nothing).network, network);
        assert_eq!(Domain::new(abi, [], Tcp::Open).network, 0);
    }
    let old = Domain::new(3, [], Tcp::Nothing);
    assert!(old.mechanism().contains("tcp"), "{}", old.mechanism());
    assert!(!Domain::new(3, [], Tcp::Open).mechanism().contains("tcp"));
}

#[test]
fn what_a_version_lacks_is_named() {
    let said = |abi| Domain::new(abi, [], Tcp::Open).mechanism();
    assert_eq!(said(7), "Landlock ABI 7");
    assert_eq!(said(5), "Landlock ABI 5: without scopes");
    assert_eq!(said(2), "Landlock ABI 2: without truncate, ioctl, scopes");
    assert_eq!(
        said(1),
        "Landlock ABI 1: without refer, truncate, ioctl, scopes"
    );
}

#[test]
fn a_place_that_is_said_twice_is_one_rule_and_one_that_allows_nothing_is_none() {
    let optional = Place {
        optional: true,
        ..place("/a", Access::WRITE)
    };
    let places = [
        optional,
        place("/a", Access::READ),
        place("/b", Access::NONE),
        place("/tty", Access::DEVICE),
    ];
    let (_, allowed, _) = Domain::new(4, places, Tcp::Open).steps();
    let both = Access::READ.and(Access::WRITE);
    assert_eq!(
        allowed,
        [Step::AllowPath {
            path: "a".into(),
            access: both.0,
            optional: false,
        }]
    );
}

#[test]
fn only_a_version_that_can_is_asked_to_keep_the_trial_out_of_the_log() {
    for (abi, expected) in [(6, false), (7, true)] {
        let (.., restrict) = Domain::new(abi, [], Tcp::Open).steps();
        assert_eq!(restrict, Step::Restrict { quiet: expected });
    }
}

fn places() -> impl Strategy<Value = Vec<Place>> {
    let one = ("(/[ab]){1,3}", any::<u16>(), any::<bool>());
    let one = one.prop_map(|(at, access, optional)| Place {
        path: path(&at),
        access: Access(access.into()),
        optional,
    });
    prop::collection::vec(one, 0..8)
}

proptest! {
    #[test]
    fn an_older_version_denies_the_same_as_far_as_it_can_deny(
        places in places(),
        abi in 1_u32..10,
        newer in 0_u32..4,
    ) {
        let old = Domain::new(abi, places.clone(), Tcp::Nothing);
        let new = Domain::new(abi + newer, places.clone(), Tcp::Nothing);
        prop_assert_eq!(old.files & !new.files, 0);
        prop_assert_eq!(old.scopes & !new.scopes, 0);
        prop_assert_eq!(old.network & !new.network, 0);
        prop_assert_eq!(old.named.requested(), new.named.requested());
        // What both can deny, both allow at the same places.
        let allowed = |domain: &Domain, at: &UnixPath| {
            let of = domain.places.iter().filter(|place| at.is_within(&place.path));
            of.fold(0, |all, place| all | place.access.0) & old.files
        };
        for place in &places {
            prop_assert_eq!(allowed(&old, &place.path), allowed(&new, &place.path));
        }
    }

    #[test]
    fn the_order_of_places_makes_no_difference(places in places(), abi in 0_u32..10) {
        let mut turned = places.clone();
        turned.reverse();
        prop_assert_eq!(
            Domain::new(abi, places, Tcp::Open),
            Domain::new(abi, turned, Tcp::Open)
        );
    }

    #[test]
    fn no_rule_allows_what_is_not_handled(places in places(), abi in 0_u32..10) {
        let domain = Domain::new(abi, places, Tcp::Open);
        for place in &domain.places {
            prop_assert_eq!(place.access.0 & !domain.files, 0);
            prop_assert_ne!(place.access, Access::NONE);
        }
    }
}
