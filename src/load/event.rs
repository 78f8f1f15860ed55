//! What a message says about its call, and what that does to the legs that it is about:
//!
//! | event       | from                                     | Early           | Confirmed   | Released         |
//! |-------------|------------------------------------------|-----------------|-------------|------------------|
//! | `Answered`  | 2xx to an INVITE                         | Confirmed       | seen        | Confirmed, counts again |
//! | `Cancelled` | CANCEL                                   | Released        | –           | –                |
//! | `Ended`     | BYE                                      | Released        | forgotten   | –                |
//! | `Refused`   | 3xx–7xx to an INVITE                     | forgotten       | –           | forgotten        |
//! | `Lost`      | 408 or 481 to an INVITE                  | forgotten       | forgotten   | forgotten        |
//! | `Unset`     | `ds_load_unset()` outside such a reply   | Released        | forgotten   | –                |
//! | `Seen`      | another request or reply of the call     | –               | seen        | –                |
//!
//! "–" changes nothing. A refused re-INVITE leaves its dialog up (RFC 3261 section 14.1), but 408 and 481 end it
//! (section 12.2.1.2). A CANCEL has no effect once the INVITE was answered (section 9.1). A leg released by CANCEL, or
//! by a BYE in the early dialog, is remembered for a while, because the 2xx may be on its way.
//!
//! Which leg: a reply names the branch that it came on, and the INVITE that it answers. Where no transaction is known, it is the leg that was selected
//! last. Inside a dialog the tags tell: a 2xx with another To-tag is another dialog (section 13.2.2.4), which needs a BYE
//! of its own.

use super::call::Call;
use super::leg::{Branch, Leg, Phase, Timer, Transaction};

/// What a message says about its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the table above
pub enum Event {
    Answered,
    Cancelled,
    Ended,
    Refused,
    Lost,
    Unset,
    Seen,
}

/// Which legs a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A reply that came on this branch, to the INVITE with this CSeq number (cut to 16 bits).
    Branch(Branch, u16),
    /// A reply in a transaction that nothing watches: of a re-INVITE, say.
    OtherTransaction,
    /// A reply without a transaction.
    NoTransaction,
    /// A request.
    Request,
    /// A request whose branches in this transaction have all failed; its CSeq number.
    Failed(Transaction, u16),
}

impl Event {
    /// Whether it matters in which dialog it happens.
    pub const fn is_of_a_dialog(self) -> bool {
        matches!(self, Self::Answered | Self::Lost | Self::Ended | Self::Seen)
    }
}

/// Hashes of the tags of a message; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tags {
    /// Of its To.
    pub to: u16,
    /// Of its From.
    pub from: u16,
}

/// A message as far as its call has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// What it says.
    pub event: Event,
    /// Of which legs.
    pub about: About,
    /// In which dialog, where that matters ([`Event::is_of_a_dialog`]).
    pub tags: Tags,
    /// Seconds, as the call table counts them.
    pub now: u32,
    /// What it says of the dialog's session timer.
    pub timer: Timer,
}

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Whether the event meant anything at this point; late and repeated ones do not.
    pub fits: bool,
    /// Whether a leg that was released counts again.
    pub crossed: bool,
}

impl Call {
    /// What a message does to it; whether that meant anything, and whether a leg that did not count counts again.
    pub fn on(&mut self, news: &News) -> Effect {
        let released = self.legs().iter().filter(|leg| !leg.counts()).count();
        let fits = match news.event {
            Event::Answered => self.answered(news),
            Event::Refused => self.refused(news),
            Event::Lost => self.lost(news),
            Event::Cancelled => self.cancelled(news.now),
            Event::Ended => self.ended(news),
            Event::Unset => self.unset(news),
            Event::Seen => self.seen(news),
        };
        let crossed = news.event == Event::Answered
            && self.legs().iter().filter(|leg| !leg.counts()).count() < released;
        Effect { fits, crossed }
    }

    fn answered(&mut self, news: &News) -> bool {
        let &News { about, tags, now, timer, .. } = news;
        let on = |leg: &Leg| matches!(about, About::Branch(branch, cseq) if leg.is_on(branch, cseq));
        let known = |leg: &Leg| leg.tag() != 0 && [tags.to, tags.from].contains(&leg.tag());
        let legs = self.legs_mut();
        if let Some(leg) = legs.iter_mut().find(|leg| leg.is_open() && on(leg)) {
            // The branch is answered for the first time.
            *leg = leg.confirmed(tags.to, now).heard(now, timer);
        } else if let Some(leg) = legs.iter_mut().find(|leg| known(leg)) {
            // Again, or inside the dialog.
            *leg = leg.heard(now, timer);
            return true;
        } else {
            let unwatched =
                |leg: &Leg| !matches!(about, About::Branch(..)) && leg.is_open() && !leg.is_watched();
            let dialog = |leg: &Leg| on(leg) || !matches!(about, About::Branch(..)) && !leg.is_open();
            let last = legs.iter().rposition(unwatched).or_else(|| legs.iter().rposition(dialog));
            let Some(leg) = last.and_then(|at| legs.get_mut(at)) else { return false };
            let beside = !leg.is_open() && leg.tag() != 0;
            if !leg.is_open() && (about == About::OtherTransaction || tags.to == 0) {
                // Inside the dialog, whatever somebody made of the tags.
                *leg = leg.heard(now, timer);
                return true;
            }
            let answered = leg.confirmed(tags.to, now).heard(now, timer);
            if beside { self.push(answered) } else { *leg = answered }
        }
        self.note_forks();
        true
    }

    /// Each of several dialogs needs a BYE of its own.
    fn note_forks(&mut self) {
        let tags = || self.legs().iter().map(|leg| leg.tag()).filter(|tag| *tag != 0);
        if tags().any(|tag| Some(tag) != tags().next()) {
            self.legs_mut().iter_mut().filter(|leg| !leg.is_open()).for_each(|leg| *leg = leg.forked());
        }
    }

    fn refused(&mut self, news: &News) -> bool {
        let dialog = self.legs().iter().any(|leg| !leg.is_open());
        self.retain(|leg| {
            !leg.is_open()
                || match news.about {
                    About::Branch(branch, cseq) => !leg.is_on(branch, cseq),
                    // A re-INVITE, if there is a dialog.
                    _ => dialog || leg.is_watched(),
                }
        })
    }

    fn lost(&mut self, news: &News) -> bool {
        if matches!(news.about, About::Branch(..)) || self.legs().iter().all(|leg| leg.is_open()) {
            return self.refused(news);
        }
        self.end_dialog(news.tags)
    }

    fn cancelled(&mut self, now: u32) -> bool {
        let mut fits = false;
        if self.legs().iter().all(|leg| leg.is_open()) {
            for leg in self.legs_mut().iter_mut().filter(|leg| leg.counts()) {
                *leg = leg.released(now);
                fits = true;
            }
        }
        fits
    }

    fn ended(&mut self, news: &News) -> bool {
        if self.legs().iter().any(|leg| !leg.is_open()) {
            self.end_dialog(news.tags)
        } else {
            self.cancelled(news.now)
        }
    }

    /// The dialog with these tags is over. If the call has only one dialog, it is that one, even if the tags differ.
    ///
    /// A copy of its INVITE that came after the answer, and went there without a transaction, gets no answer of its own: its leg ends
    /// here, too.
    fn end_dialog(&mut self, tags: Tags) -> bool {
        let is_named = |leg: &Leg| leg.tag() != 0 && [tags.to, tags.from].contains(&leg.tag());
        let named = self.legs().iter().any(is_named);
        let is_over = |leg: &Leg| {
            !leg.is_open() && if named { is_named(leg) } else { leg.tag() == 0 || !leg.is_forked() }
        };
        let before = self.clone();
        let ended_at = |record| before.legs().iter().any(|leg| is_over(leg) && leg.record() == record);
        self.retain(|leg| {
            let is_copy = leg.is_open() && !leg.is_watched();
            !(is_over(leg) || is_copy && ended_at(leg.record()))
        })
    }

    fn unset(&mut self, news: &News) -> bool {
        let mut fits = false;
        self.retain(|leg| {
            let meant = match news.about {
                About::Branch(branch, cseq) => leg.is_on(branch, cseq),
                About::Failed(transaction, cseq) => leg.is_of(transaction, cseq) || !leg.is_watched(),
                _ => true,
            };
            match leg.phase() {
                Phase::Early if meant => *leg = leg.released(news.now),
                Phase::Confirmed if meant => {
                    return {
                        fits = true;
                        false
                    };
                }
                _ => return true,
            }
            fits = true;
            true
        });
        fits
    }

    fn seen(&mut self, news: &News) -> bool {
        let tags = [news.tags.to, news.tags.from];
        let dialogs = self.legs().iter().filter(|leg| !leg.is_open());
        let named = dialogs.clone().any(|leg| leg.tag() != 0 && tags.contains(&leg.tag()));
        for leg in self.legs_mut().iter_mut().filter(|leg| !leg.is_open()) {
            if !named || tags.contains(&leg.tag()) {
                *leg = leg.heard(news.now, news.timer);
            }
        }
        self.counts()
    }
}
