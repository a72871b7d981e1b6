//! Hostile guest programs, one misbehaviour each.
