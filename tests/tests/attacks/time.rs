//! Attacks by timers.

use belljar_plan::{Limit, Outcome};
use belljar_tests::{bare, both_presets, jar};

use crate::resources::after;

#[test]
pub(crate) fn timers_are_bounded() {
    both_presets(|preset| {
        let ended = jar().preset(preset).guest("make_timers", ["5000"]).stops();
        assert!(after(&ended) <= 1024, "{ended:#?}");
    });
    bare(["make_timers", "5000"]).escapes();
}

#[test]
pub(crate) fn storm_of_signals_ends_at_wall() {
    both_presets(|preset| {
        let ended = jar()
            .preset(preset)
            .flags(["--wall", "1s"])
            .guest("storm_of_signals", ["60"])
            .end();
        let limit = Limit::Wall;
        assert_eq!(ended.outcome(), &Outcome::Limit { limit }, "{ended:#?}");
        ended.held();
    });
    bare(["storm_of_signals", "1"]).escapes();
}
