//! When the provider is asked again whether a code was typed in, and what its refusals mean. Pure.
//!
//! RFC 8628 §3.5: never sooner than the interval; five seconds more, for good, at `slow_down`; twice as
//! long where nobody answered.

use crate::oauth::response::Fault;
use std::time::Duration;

/// The pause is never longer.
const LONGEST: Duration = Duration::from_secs(60);

/// What a refusal means for the waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not yet.
    Wait,
    /// The person said no.
    Declined,
    /// The time for it is over.
    Expired,
    /// Something else, which ends it.
    Failed(Fault),
}

/// The pauses between questions.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    pause: Duration,
}

impl Rhythm {
    /// With the interval the provider asked for.
    pub fn new(interval: Duration) -> Self {
        Self { pause: interval }
    }

    /// Before the next question.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Learns from an answer that brought no token.
    pub fn hear(&mut self, fault: Fault) -> Answer {
        match (&fault, word(&fault)) {
            (_, "authorization_pending") => Answer::Wait,
            (_, "slow_down") => {
                self.pause = (self.pause + Duration::from_secs(5)).min(LONGEST);
                Answer::Wait
            }
            // The first is Microsoft's own word.
            (_, "authorization_declined" | "access_denied") => Answer::Declined,
            // `bad_verification_code`: the provider knows the code no more.
            (_, "expired_token" | "bad_verification_code" | "code_expired") => Answer::Expired,
            (Fault::Unreachable(_) | Fault::Unclear { .. }, _) => {
                self.pause = (self.pause * 2).min(LONGEST);
                Answer::Wait
            }
            _ => Answer::Failed(fault),
        }
    }
}

/// The provider's word for a refusal: the text begins with it.
fn word(fault: &Fault) -> &str {
    let Fault::Refused { text, .. } = fault else { return "" };
    text.split([' ', ':']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::response;
    use std::time::SystemTime;

    fn refused(error: &str) -> Fault {
        let body = serde_json::json!({
            "error": error,
            "error_description": "AADSTS70016: OAuth 2.0 device flow error. Authorization is pending.",
            "error_codes": [70016],
        })
        .to_string();
        let answer = response::Answer { status: 400, retry_after: None, body: body.as_bytes() };
        response::refusal(answer, SystemTime::UNIX_EPOCH, &[]).unwrap()
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let mut rhythm = Rhythm::new(Duration::from_secs(5));
        let mut hear = |error| rhythm.hear(refused(error));
        assert_eq!(hear("authorization_pending"), Answer::Wait);
        assert_eq!(hear("authorization_declined"), Answer::Declined);
        assert_eq!(hear("access_denied"), Answer::Declined);
        assert_eq!(hear("expired_token"), Answer::Expired);
        assert_eq!(hear("bad_verification_code"), Answer::Expired);
        assert!(matches!(hear("invalid_client"), Answer::Failed(_)));
        assert_eq!(rhythm.pause(), Duration::from_secs(5));
    }

    #[test]
    fn slow_down_is_for_good_and_silence_doubles() {
        let mut rhythm = Rhythm::new(Duration::from_secs(5));
        for seconds in [10, 15, 20] {
            assert_eq!(rhythm.hear(refused("slow_down")), Answer::Wait);
            assert_eq!(rhythm.pause().as_secs(), seconds);
        }
        for seconds in [40, 60, 60] {
            assert_eq!(rhythm.hear(Fault::Unreachable("x".into())), Answer::Wait);
            assert_eq!(rhythm.pause().as_secs(), seconds);
        }
        let html = Fault::Unclear { status: 502, what: "HTML".into(), retry_after: None };
        assert_eq!(rhythm.hear(html), Answer::Wait);
    }
}
