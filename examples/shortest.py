"""The shortest proxy: choose, relay, done. Calls count themselves (ds_load_auto)."""

import KSR


def mod_init():
    return Proxy()


class Proxy:
    def child_init(self, rank):
        return 0

    def ksr_request_route(self, msg):
        if KSR.maxfwd.process_maxfwd(10) < 0:
            KSR.sl.sl_send_reply(483, "Too Many Hops")
        elif KSR.is_method_in("C"):  # CANCEL
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
        elif KSR.siputils.has_totag() > 0:
            if KSR.rr.loose_route() > 0 or (KSR.is_method_in("A") and KSR.tm.t_check_trans() > 0):
                KSR.tm.t_relay()
        else:
            self.new_call()
        return 1

    def new_call(self):
        if KSR.tm.t_check_trans() == 0:
            return  # a retransmission: its transaction has dealt with it
        if not KSR.is_method_in("I"):
            KSR.sl.sl_send_reply(405, "Method Not Allowed")
            return
        KSR.rr.record_route()
        if KSR.dispatcher.ds_select_dst(100, 10) < 0:
            KSR.sl.sl_send_reply(404, "No destination")
            return
        KSR.tm.t_relay()
