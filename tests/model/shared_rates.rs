//! Limits on new calls that destinations of several sets share (`capacity_cps`), in forked processes: in no second more than the limit and its
//! burst, whatever chooses and in whatever set, and none refused that the limits allow.

use core::sync::atomic::{AtomicU64, Ordering};

use dispatcher::load::{Event, Invite};
use dispatcher::select::Refusal;
use dispatcher::service::routing::choose::{Ask, Call, NoRoute, select};
use dispatcher::service::sets::edit;
use dispatcher::state::Root;

use super::mapping::Mapping;
use super::rates::{Clock, Log, SECOND, call, call_while_reloading, most_in_a_second};
use super::{Random, asking, edits, fork_workers, load_is_right, publish, report, timed_root};

const SETS: i32 = 3;
/// Of each name: its limit and the burst.
const SHARED: [(&str, usize, usize); 2] = [("carrier", 100, 20), ("other", 50, 10)];
const OWN: (usize, usize) = (30, 5);

/// In each set four lines of the first name, two of the other one, and two that share nothing. Each has a limit of its own, too.
fn list(turn: u64) -> String {
    let line = |set: i32, n: usize| {
        let shared = match n {
            0..4 => Some(SHARED[0]),
            4..6 => Some(SHARED[1]),
            _ => None,
        };
        let shared = shared.map_or_else(String::new, |(name, cps, burst)| {
            format!(";capacity={name};capacity_cps={cps};capacity_cps_burst={burst}")
        });
        let (weight, priority) = (1 + (n as u64 + turn) % 5, n % 2);
        let shares = format!("weight={weight};rweight={weight};maxload=900");
        let own = format!("cps={};cps_burst={}", OWN.0, OWN.1);
        format!("{set} sip:gw{set}-{n} 0 {priority} duid=gw{set}-{n};{shares};{own}{shared}\n")
    };
    (1..=SETS).flat_map(|set| (0..8).map(move |n| line(set, n))).collect()
}

static CLOCK: Clock = Clock::new();

/// Reloads that change the lines come between.
#[test]
fn no_second_has_more_calls_than_a_shared_limit_whatever_chooses() {
    for algorithm in [0, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 64, 100, 101] {
        let mapping = Mapping::new(64 << 20);
        let root = timed_root(mapping, || CLOCK.step(100_000));
        CLOCK.begin(mapping);
        let log = Log::new(mapping);
        let set = |random: &mut Random| 1 + random.below(SETS as u64) as i32;
        let seconds = call_while_reloading((mapping, root), (&log, &CLOCK), algorithm, (set, list));
        let sets = root.sets.pin(0).unwrap();
        let capacities: Vec<_> = root.registry.capacities.lock().each().collect();
        for (name, cps, burst) in SHARED {
            let capacity = capacities.iter().find(|one| one.name == name.as_bytes()).unwrap();
            let record = |number: &u32| root.registry.record(*number).unwrap();
            let all = sets.all().map(|(_, _, one)| one.record);
            let all: Vec<u32> = all.filter(|one| record(one).capacity() == capacity.number).collect();
            let times = log.times(&all);
            let most = most_in_a_second(&times);
            assert!(most <= cps + burst, "{algorithm}: {most} in a second to {name}");
            for one in all {
                let most = most_in_a_second(&log.times(&[one]));
                assert!(most <= OWN.0 + OWN.1, "{algorithm}: {most} in a second to {one}");
            }
            // Nobody is refused while there is a token: where calls are refused all the time, all tokens are used.
            let could = cps as f64 * seconds;
            assert!(times.len() as f64 > could, "{algorithm}: {} of {could} in {seconds} s", times.len());
        }
        assert_eq!(load_is_right(root, 900), 0);
    }
}

const OVER: Result<usize, NoRoute> = Err(NoRoute::Refused(Refusal::OverRate));

static STEPS: Clock = Clock::new();

/// An INVITE of a new call to this set, that is refused there.
fn ask(root: &Root<Mapping>, set: i32, algorithm: i32) -> Result<usize, NoRoute> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let key = root.secret.call(&NUMBER.fetch_add(1, Ordering::SeqCst).to_ne_bytes());
    let (key, invite) = (&|| Some(key), &|| Invite { number: 1, failed: None, now: 0 });
    let sets = root.sets.pin(0).unwrap();
    let call = Call::Goes { key, invite, may_stay: true };
    let chosen = select(root, &sets, &Ask { hash: &|_| Some(2), ..asking(set, algorithm, call) });
    let chosen = chosen.map(|chosen| chosen.at);
    report(root, &key().unwrap(), Event::Refused, 0);
    chosen
}

/// A refusal takes no token of any limit, so one that waits for the next token gets it: at the nanosecond, in whatever set.
#[test]
fn the_next_call_goes_when_a_shared_token_is_back_and_not_before() {
    let mapping = Mapping::new(4 << 20);
    let root = timed_root(mapping, || STEPS.step(0));
    STEPS.begin(mapping);
    // The last one shares nothing and takes no calls.
    let publish = |attrs: &str, own: &str| {
        let line = |set: u32, attrs: &str| format!("{set} sip:a{set} 0 5 duid=a{set};{attrs}\n");
        let list = line(1, attrs) + &line(2, &format!("{attrs};{own}")) + &line(3, "x=y");
        publish(root, &(list + "1 sip:b 1 0 duid=b\n")).map(|_| ()).unwrap();
    };
    let other = || {
        let sets = root.sets.pin(0).unwrap();
        select(root, &sets, &asking(1, 8, Call::None)).map(|chosen| chosen.at)
    };
    let right = || assert_eq!(load_is_right(root, u32::MAX), 0);
    for algorithm in [0, 4, 8, 9, 10, 11, 13, 100, 101] {
        let ask = |set| ask(root, set, algorithm);
        // From a state without anything taken.
        publish("x=y", "x=y");
        STEPS.step(60 * SECOND);
        publish("capacity=c;capacity_cps=5;capacity_cps_burst=3", "x=y");
        assert_eq!([ask(1), ask(2), ask(1)], [Ok(0), Ok(0), Ok(0)], "{algorithm}");
        for _ in 0..5 {
            assert_eq!((ask(1), ask(2), ask(3), other()), (OVER, OVER, Ok(0), Ok(0)), "{algorithm}");
        }
        right();
        STEPS.step(SECOND / 5 - 1);
        assert_eq!([ask(2), ask(1)], [OVER, OVER], "{algorithm}");
        STEPS.step(1);
        assert_eq!([ask(2), ask(1)], [Ok(0), OVER], "{algorithm}");
        // A reload with the same limit, and other words, gives none back; one that joins finds it as it is.
        publish("capacity=c;capacity_cps=5;capacity_cps_burst=3;note=x", "note=y");
        right();
        assert_eq!([ask(2), ask(1)], [OVER, OVER], "{algorithm}");
        // One whose own limit has none left takes none of the shared one, and the other way round.
        publish("capacity=c;capacity_cps=5;capacity_cps_burst=3", "cps=1;cps_burst=1");
        STEPS.step(SECOND);
        assert_eq!([ask(2), ask(2), ask(2)], [Ok(0), OVER, OVER], "{algorithm}");
        assert_eq!([ask(1), ask(1), ask(1)], [Ok(0), Ok(0), OVER], "{algorithm}");
        STEPS.step(SECOND / 5);
        assert_eq!([ask(1), ask(2), ask(1)], [Ok(0), OVER, OVER], "{algorithm}");
        STEPS.step(4 * SECOND / 5);
        assert_eq!([ask(1), ask(1), ask(1)], [Ok(0), Ok(0), Ok(0)], "{algorithm}");
        assert_eq!(ask(2), OVER, "{algorithm}: shared");
        STEPS.step(SECOND / 5);
        assert_eq!([ask(2), ask(2), ask(1)], [Ok(0), OVER, OVER], "{algorithm}: its own token was left");
        right();
        // A changed number acts at once, and what was taken stays taken.
        publish("capacity=c;capacity_cps=5;capacity_cps_burst=7", "x=y");
        assert_eq!((0..9).filter(|_| ask(1).is_ok()).count(), 4, "{algorithm}");
        publish("capacity=c;capacity_cps=1;capacity_cps_burst=1", "x=y");
        assert_eq!(ask(2), OVER, "{algorithm}");
        STEPS.step(SECOND);
        assert_eq!([ask(1), ask(2)], [Ok(0), OVER], "{algorithm}");
        right();
        // A limit that an edit of one set brings acts in the other one; none any more.
        publish("capacity=c;capacity_max=900", "x=y");
        assert!((0..50).all(|_| ask(1) == Ok(0) && ask(2) == Ok(0)), "{algorithm}");
        STEPS.step(60 * SECOND);
        edits::with(root, 3, ("sip:d", 0), "capacity=c;capacity_cps=1;capacity_cps_burst=2").unwrap();
        right();
        assert_eq!([ask(1), ask(2), ask(1), ask(2)], [Ok(0), Ok(0), OVER, OVER], "{algorithm}");
        edit::remove(root, 3, b"sip:d", edits::PACE).unwrap();
        right();
        assert!((0..50).all(|_| ask(1) == Ok(0) && ask(2) == Ok(0)), "{algorithm}");
        // Who leaves while it is over its rate gets calls at once.
        publish("capacity=c;capacity_cps=1;capacity_cps_burst=1", "x=y");
        STEPS.step(60 * SECOND);
        assert_eq!([ask(1), ask(2)], [Ok(0), OVER], "{algorithm}");
        publish("x=y", "x=z");
        right();
        assert_eq!([ask(1), ask(2)], [Ok(0), Ok(0)], "{algorithm}");
    }
}

static MIXED: Clock = Clock::new();

/// Lines that come and go, and change what they share and say.
fn mixed(random: &mut Random) -> String {
    let line = |set: i32, n: u64, random: &mut Random| {
        let own = ["", ";cps=9", ";maxload=3"][random.below(3) as usize];
        let name = random.below(4);
        let cps = ["", ";capacity_cps=7", ";capacity_cps=20;capacity_cps_burst=9"][random.below(3) as usize];
        let shared =
            if name == 3 { String::new() } else { format!(";capacity=c{name};capacity_max=40{cps}") };
        format!("{set} sip:gw{n} 0 {} weight=2;rweight=3{own}{shared}\n", random.below(2))
    };
    let mut list = String::new();
    for set in 1..=SETS {
        for _ in 0..1 + random.below(20) {
            // Some names have two lines.
            list += &line(set, random.below(30), random);
        }
    }
    list
}

/// After any changes all is as the records and capacities say, and after a rest nobody is over a rate.
#[test]
fn whatever_changes_while_calls_come_the_index_is_right() {
    const ALGORITHMS: [i32; 8] = [0, 4, 8, 9, 10, 11, 13, 100];
    let mapping = Mapping::new(64 << 20);
    let root = timed_root(mapping, || MIXED.step(200_000));
    MIXED.begin(mapping);
    let log = Log::new(mapping);
    let mut random = Random(11);
    for round in 0..40 {
        publish(root, &mixed(&mut random)).unwrap();
        fork_workers(
            |worker| {
                let mut random = Random(round * 100 + worker as u64);
                for n in 0..150 {
                    let sets = root.sets.pin(worker).unwrap();
                    let number = (round * 100 + worker as u64) * 1000 + n;
                    let algorithm = ALGORITHMS[random.below(8) as usize];
                    let set = 1 + random.below(SETS as u64) as i32;
                    call(root, &sets, (&log, &MIXED), (set, algorithm), (number, &mut random));
                }
            },
            || drop(publish(root, &mixed(&mut random)).unwrap()),
        );
        assert_eq!(load_is_right(root, u32::MAX), 0, "round {round}");
        for (set, algorithm) in (1..=SETS).flat_map(|set| ALGORITHMS.map(|algorithm| (set, algorithm))) {
            MIXED.step(60 * SECOND);
            let asked = ask(root, set, algorithm);
            assert!(asked.is_ok(), "round {round}: algorithm {algorithm} in set {set}: {asked:?}");
        }
        assert_eq!(load_is_right(root, u32::MAX), 0, "round {round}");
    }
}
