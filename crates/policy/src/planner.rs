//! plan
use crate::{facts::HostFacts, policy::Policy, refusal::Refusal, verified::Verified};
use belljar_plan::Plan;
/// p
/// # Errors
/// e
pub fn plan(_: &Verified, _: &Policy, _: &HostFacts) -> Result<Plan, Refusal> {
    Err(Refusal::Invalid {
        reason: String::new(),
    })
}
/// d
#[must_use]
pub fn digest(_: &Plan) -> String {
    String::new()
}
