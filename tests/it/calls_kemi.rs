//! The routing by call load of `calls` in the languages that Kamailio embeds, and the tests of call load with it.

use crate::calls;
use crate::support::language::{Language, python};

/// In place of the failure route's FAILOVER.
const NO_FAILOVER: &str = "\tKSR.dispatcher.ds_load_unset()";

const LUA_FAILOVER: &str = r#"
	if KSR.tm.t_check_status("408|5[0-9][0-9]") > 0 and KSR.dispatcher.ds_next_dst() > 0 then
		KSR.tm.t_on_failure("ksr_failed")
		KSR.tm.t_relay()
		return 1
	end
	KSR.dispatcher.ds_load_unset()"#;

const LUA: &str = r#"
local function counts()
	KSR.dispatcher.ds_load_update()
end
function ksr_request_route()
	if KSR.is_OPTIONS() and KSR.pv.gete("$rU") == "ready" then KSR.sl.sl_send_reply(200, "Ready") return 1 end
	if KSR.is_method_in("M") then
		if KSR.dispatcher.ds_reload() > 0 then KSR.sl.sl_send_reply(200, "OK") else KSR.sl.sl_send_reply(500, "No") end
		return 1
	end
	if KSR.is_CANCEL() then
		counts()
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return 1
	end
	if KSR.siputils.has_totag() > 0 then
		if KSR.is_ACK() and KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() return 1 end
		local known = KSR.rr.loose_route() > 0
		if KSR.is_BYE() or KSR.is_INVITE() or KSR.is_UPDATE() then counts() end
		if known then KSR.tm.t_relay() elseif not KSR.is_ACK() then KSR.sl.sl_send_reply(481, "Not here") end
		return 1
	end
	if KSR.tm.t_check_trans() == 0 then return 1 end
	KSR.rr.record_route()
	local set = tonumber(KSR.pv.gete("$hdr(X-Set)")) or 100
	if KSR.dispatcher.ds_select_dst(set, 10) < 0 then KSR.sl.send_reply(404, "No destination") return 1 end
	KSR.tm.t_on_failure("ksr_failed")
	KSR.tm.t_relay()
	return 1
end
function ksr_reply_route()
	if not KSR.is_INVITE() then return 1 end
	local status = KSR.pv.get("$rs")
	if status >= 300 then
		KSR.dispatcher.ds_load_unset()
	elseif status >= 200 then
		KSR.dispatcher.ds_load_update()
	end
	return 1
end
function ksr_failed()
	if KSR.tm.t_is_canceled() > 0 then return 1 end
FAILURE
	return 1
end
"#;

const PYTHON_FAILOVER: &str = r#"
        if KSR.tm.t_check_status("408|5[0-9][0-9]") > 0 and KSR.dispatcher.ds_next_dst() > 0:
            KSR.tm.t_on_failure("ksr_failed")
            KSR.tm.t_relay()
            return 1
        KSR.dispatcher.ds_load_unset()"#;

/// Methods of its class ([`python`]).
const PYTHON: &str = r#"
    def ksr_request_route(self, msg):
        if KSR.is_OPTIONS() and KSR.pv.gete("$rU") == "ready":
            KSR.sl.sl_send_reply(200, "Ready")
        elif KSR.is_method_in("M"):
            if KSR.dispatcher.ds_reload() > 0:
                KSR.sl.sl_send_reply(200, "OK")
            else:
                KSR.sl.sl_send_reply(500, "No")
        elif KSR.is_CANCEL():
            KSR.dispatcher.ds_load_update()
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
        elif KSR.siputils.has_totag() > 0:
            self.in_dialog()
        else:
            self.new_call()
        return 1

    def in_dialog(self):
        if KSR.is_ACK() and KSR.tm.t_check_trans() > 0:
            KSR.tm.t_relay()
            return
        known = KSR.rr.loose_route() > 0
        if KSR.is_BYE() or KSR.is_INVITE() or KSR.is_UPDATE():
            KSR.dispatcher.ds_load_update()
        if known:
            KSR.tm.t_relay()
        elif not KSR.is_ACK():
            KSR.sl.sl_send_reply(481, "Not here")

    def new_call(self):
        if KSR.tm.t_check_trans() == 0:
            return
        KSR.rr.record_route()
        if KSR.dispatcher.ds_select_dst(int(KSR.pv.gete("$hdr(X-Set)") or 100), 10) < 0:
            KSR.sl.send_reply(404, "No destination")
            return
        KSR.tm.t_on_failure("ksr_failed")
        KSR.tm.t_relay()

    def ksr_reply_route(self, msg):
        if KSR.is_INVITE():
            status = KSR.pv.get("$rs")
            if status >= 300:
                KSR.dispatcher.ds_load_unset()
            elif status >= 200:
                KSR.dispatcher.ds_load_update()
        return 1

    def ksr_failed(self, msg):
        if KSR.tm.t_is_canceled() > 0:
            return 1
FAILURE
        return 1
"#;

/// The routing with this failure route, which is one of those that `calls` names.
pub fn routing(language: Language, failure: &str) -> String {
    assert!(
        [calls::NO_FAILOVER, calls::FAILOVER].contains(&failure),
        "only in the native language: {failure}"
    );
    let fails_over = failure == calls::FAILOVER;
    match language {
        Language::Native => unreachable!("it has a routing of its own"),
        Language::Lua => LUA.replace("FAILURE", if fails_over { LUA_FAILOVER } else { NO_FAILOVER }),
        Language::Python => {
            let unset = NO_FAILOVER.replace('\t', "        ");
            python(&PYTHON.replace("FAILURE", if fails_over { PYTHON_FAILOVER } else { &unset }))
        }
    }
}

/// Tests that take this routing as it is, at eight workers, with calls that count themselves: in Lua, also with the script's own
/// counting, and in Python.
macro_rules! in_other_languages {
    ($($group:ident: $($test:ident),+;)+) => {
        mod lua {
            use crate::support::counting::{Counting, counted};
            use crate::support::language::{Language, written_in};
            $(mod $group { $(#[test] fn $test() {
                super::written_in(super::Language::Lua, || {
                    super::counted(super::Counting::Followed, || crate::$group::$test(8))
                });
            })+ })+
        }
        mod long_lua_that_counts {
            use crate::support::counting::{Counting, counted};
            use crate::support::language::{Language, written_in};
            $(mod $group { $(#[test] fn $test() {
                super::written_in(super::Language::Lua, || {
                    super::counted(super::Counting::Both, || crate::$group::$test(8))
                });
            })+ })+
        }
        mod long_python {
            use crate::support::counting::{Counting, counted};
            use crate::support::language::{Language, written_in};
            $(mod $group { $(#[test] fn $test() {
                super::written_in(super::Language::Python, || {
                    super::counted(super::Counting::Followed, || crate::$group::$test(8))
                });
            })+ })+
        }
    };
}

in_other_languages! {
    crossing:
        cancel_releases_at_once, answer_that_crosses_the_cancel_counts_until_its_bye, refusal_forgets_the_call,
        challenged_call_counts_once, refused_reinvite_leaves_the_call_counted,
        reinvite_of_a_lost_dialog_ends_the_call,
        answer_counts_where_its_branch_went_whatever_address_it_comes_from;
    release:
        two_byes_release_once, bye_of_an_unknown_call_changes_nothing, cancel_after_the_answer_changes_nothing,
        cancel_sent_twice_releases_once, refusal_after_the_bye_changes_nothing,
        storm_of_byes_ends_at_zero_in_silence;
    failover:
        next_is_the_least_loaded_of_those_usable_by_then, count_follows_the_call_from_gateway_to_gateway,
        call_that_nobody_takes_counts_nowhere, silent_gateway_loses_the_call_to_the_next,
        late_refusal_of_the_gateway_before_changes_nothing;
    limits:
        bursts_fill_every_gateway_to_its_limit_and_no_further, zero_or_absent_maxload_is_no_limit,
        short_calls_over_idle_gateways_are_shared_evenly, loads_of_long_calls_differ_by_one_at_most,
        freed_place_is_given_to_the_next_call;
    expiry:
        unanswered_call_is_dropped_and_an_answered_one_kept, call_heard_of_by_reinvite_or_update_is_kept,
        dropped_call_makes_room, without_initexpire_a_ringing_call_stays;
    repeats:
        same_invite_to_all_workers_at_once_counts_once, new_invite_of_a_call_stays_where_it_counts,
        call_resent_to_another_set_moves_its_count, call_at_a_full_gateway_stays_there;
    removal:
        removed_destination_is_remembered_until_its_last_call_ends, destination_added_back_has_its_count,
        removed_set_keeps_its_counts_too, duid_keeps_its_count_at_another_address,
        destination_without_duid_is_another_one_at_another_address;
    identity:
        calls_of_every_fate_end_at_zero_without_flags, call_ids_of_any_length_are_told_apart,
        destination_without_duid_is_known_by_its_uri;
    reloads:
        a_thousand_calls_survive_every_way_to_reload;
}
