//! What a message says about its call, and what that does to the legs that it is about:
//!
//! | event       | from                                     | Early           | Confirmed   | Released         |
//! |-------------|------------------------------------------|-----------------|-------------|------------------|
//! | `Answered`  | 2xx to an INVITE                         | Confirmed       | seen        | Confirmed, counts again |
//! | `Cancelled` | CANCEL                                   | Released        | –           | –                |
//! | `Ended`     | BYE                                      | Released        | over        | –                |
//! | `Refused`   | 3xx–7xx to an INVITE                     | forgotten       | –           | forgotten        |
//! | `Lost`      | 408 or 481 to an INVITE                  | forgotten       | over        | forgotten        |
//! | `Gone`      | 481 to UPDATE or INFO                    | –               | over        | –                |
//! | `Unset`     | `ds_load_unset()` outside such a reply   | Released        | forgotten   | –                |
//! | `Seen`      | another request or reply of the call     | –               | seen        | –                |
//!
//! "–" changes nothing. A refused re-INVITE leaves its dialog up (RFC 3261 section 14.1), but 408 and 481 end it
//! (section 12.2.1.2). A CANCEL has no effect once the INVITE was answered (section 9.1). A leg released by CANCEL, or
//! by a BYE in the early dialog, is remembered for a while, because the 2xx may be on its way. A request may be refused in an early
//! dialog, and its INVITE is still on its way. One that is over is forgotten, but while the transaction of its INVITE lives another
//! user agent may answer on the same branch, with a tag of its own: until then it is remembered (`Over`), so that the same answer that
//! comes again counts no more.
//!
//! Which leg: a reply names the branch that it came on, and the INVITE that it answers. Where no transaction is known, it is the leg that was selected
//! last. Inside a dialog both tags tell: a 2xx with another To-tag is another dialog (section 13.2.2.4), which needs a BYE
//! of its own, and a BYE with tags of none ends none.

use super::call::{Call, Invite};
use super::leg::{Branch, Dialog, Leg, Phase, Timer, Transaction, Way};

/// What a message says about its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the table above
pub enum Event {
    Answered,
    Cancelled,
    Ended,
    Refused,
    Lost,
    Gone,
    Unset,
    Seen,
}

/// Which legs a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A reply that came on this branch, to the INVITE with this number ([`Invite::number`](super::Invite::number)).
    Branch(Branch, u16),
    /// A reply in a transaction that nothing watches: of a re-INVITE, say.
    OtherTransaction,
    /// A reply without a transaction.
    NoTransaction,
    /// The same on the branch of this number, where the server no longer finds a transaction that is answered, though it lives.
    Late(u16),
    /// A request.
    Request,
    /// A request whose branches in this transaction have all failed; its number.
    Failed(Transaction, u16),
}

impl Event {
    /// Whether it matters in which dialog, or from whom, it happens.
    pub const fn is_of_a_dialog(self) -> bool {
        !matches!(self, Self::Refused | Self::Unset)
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

impl Tags {
    /// The dialog that they name.
    fn dialog(self) -> Dialog {
        Dialog::of(self.to, self.from)
    }

    /// The dialog that an answer with them makes.
    fn answered(self) -> Dialog {
        if self.to == 0 { Dialog::UNKNOWN } else { self.dialog() }
    }
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
            Event::Gone => self.is_up() && self.end_dialog(news),
            Event::Cancelled => self.cancelled(news),
            Event::Ended => self.ended(news),
            Event::Unset => self.unset(news),
            Event::Seen => self.seen(news),
        };
        let crossed = news.event == Event::Answered
            && self.legs().iter().filter(|leg| !leg.counts()).count() < released;
        Effect { fits, crossed }
    }

    /// Whether a dialog of it is up.
    fn is_up(&self) -> bool {
        self.legs().iter().any(|leg| leg.is_up())
    }

    fn answered(&mut self, news: &News) -> bool {
        let &News { about, tags, now, timer, .. } = news;
        let (is_branch, dialog) = (matches!(about, About::Branch(..)), tags.dialog());
        let on = |leg: &Leg| matches!(about, About::Branch(branch, number) if leg.is_on(branch, number));
        let late = |leg: &Leg| {
            let lives = leg.is_open() || leg.lives();
            lives
                && matches!((about, leg.way()), (About::Late(number), Way::On(branch)) if branch.number() == number)
        };
        let answer = |leg: Leg| {
            let lives = is_branch || late(&leg);
            let leg = leg.confirmed(tags.answered(), now).heard(now, timer);
            if lives { leg.living() } else { leg }
        };
        let legs = self.legs_mut();
        if let Some(leg) = legs.iter_mut().find(|leg| leg.is_open() && on(leg)) {
            // The branch is answered for the first time.
            *leg = answer(*leg);
        } else if let Some(leg) = legs.iter_mut().find(|leg| leg.is_in(dialog)) {
            // Again, or inside the dialog.
            if leg.is_up() {
                *leg = leg.heard(now, timer);
            }
        } else {
            let unwatched = |leg: &Leg| !is_branch && leg.is_open() && !leg.is_watched();
            let other = |leg: &Leg| on(leg) || !is_branch && leg.is_up();
            let last = [&late as &dyn Fn(&Leg) -> bool, &unwatched, &other];
            let last = last.into_iter().find_map(|is_it| legs.iter().rposition(is_it));
            let Some(leg) = last.and_then(|at| legs.get_mut(at)) else { return false };
            if !leg.is_open() && (about == About::OtherTransaction || tags.to == 0) {
                // Inside the dialog, or one that is not known.
                if leg.is_named() && tags.to != 0 {
                    return false;
                }
                if leg.is_up() {
                    *leg = leg.heard(now, timer);
                }
            } else if !leg.is_open() && leg.is_named() {
                let beside = answer(*leg);
                self.push(beside);
            } else {
                *leg = answer(*leg);
            }
        }
        true
    }

    fn refused(&mut self, news: &News) -> bool {
        let dialog = self.is_up();
        self.retain(|leg| {
            !leg.is_open()
                || match news.about {
                    About::Branch(branch, number) => !leg.is_on(branch, number),
                    // A re-INVITE, if there is a dialog.
                    _ => dialog || leg.is_watched(),
                }
        })
    }

    fn lost(&mut self, news: &News) -> bool {
        if matches!(news.about, About::Branch(..)) || !self.is_up() {
            return self.refused(news);
        }
        self.end_dialog(news)
    }

    /// The caller gives up. Of the INVITEs of a call, these are the ones that have its From-tag.
    fn cancelled(&mut self, news: &News) -> bool {
        let News { tags, now, .. } = *news;
        let is_own =
            |leg: &Leg| [tags.from, tags.to].into_iter().any(|tag| Invite::is_from(leg.number(), tag));
        let mut fits = false;
        if !self.is_up() {
            for leg in self.legs_mut().iter_mut().filter(|leg| leg.phase() == Phase::Early && is_own(leg)) {
                *leg = leg.released(now);
                fits = true;
            }
        }
        fits
    }

    fn ended(&mut self, news: &News) -> bool {
        let dialog = news.tags.dialog();
        if self.is_up() {
            self.end_dialog(news)
        } else if self.legs().iter().any(|leg| leg.is_in(dialog)) {
            false // again
        } else {
            self.cancelled(news)
        }
    }

    /// The dialog with these tags is over. One whose tags are not known (nobody reported its answer) ends with any.
    ///
    /// A copy of its INVITE that came after the answer, and went there without a transaction, gets no answer of its own: its leg ends
    /// here, too.
    fn end_dialog(&mut self, news: &News) -> bool {
        let dialog = news.tags.dialog();
        let named = self.legs().iter().any(|leg| leg.is_in(dialog));
        let ends = |leg: &Leg| leg.is_up() && if named { leg.is_in(dialog) } else { !leg.is_named() };
        let before = self.clone();
        let ended_at = |record| before.legs().iter().any(|leg| ends(leg) && leg.record() == record);
        let fits = before.legs().iter().any(ends);
        self.retain(|leg| {
            if ends(leg) {
                let may_come = leg.lives() && leg.is_named();
                *leg = leg.over(news.now);
                return may_come;
            }
            let is_copy = leg.is_open() && !leg.is_watched();
            !(is_copy && ended_at(leg.record()))
        });
        fits
    }

    fn unset(&mut self, news: &News) -> bool {
        let mut fits = false;
        self.retain(|leg| {
            let meant = match news.about {
                About::Branch(branch, number) => leg.is_on(branch, number),
                About::Failed(transaction, number) => leg.is_of(transaction, number) || !leg.is_watched(),
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
        let dialog = news.tags.dialog();
        let named = self.legs().iter().any(|leg| leg.is_in(dialog));
        for leg in self.legs_mut().iter_mut().filter(|leg| leg.is_up()) {
            if leg.is_in(dialog) || !named && !leg.is_named() {
                *leg = leg.heard(news.now, news.timer);
            }
        }
        self.counts()
    }
}
