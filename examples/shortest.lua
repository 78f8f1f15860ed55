-- The shortest proxy: choose, relay, done. Calls count themselves (ds_load_auto).

function ksr_request_route()
	if KSR.maxfwd.process_maxfwd(10) < 0 then
		KSR.sl.sl_send_reply(483, "Too Many Hops")
		return
	end
	if KSR.is_method_in("C") then -- CANCEL
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return
	end
	if KSR.siputils.has_totag() > 0 then
		if KSR.rr.loose_route() > 0 or (KSR.is_method_in("A") and KSR.tm.t_check_trans() > 0) then
			KSR.tm.t_relay()
		end
		return
	end
	if KSR.tm.t_check_trans() == 0 then return end -- a retransmission: its transaction has dealt with it
	if not KSR.is_method_in("I") then
		KSR.sl.sl_send_reply(405, "Method Not Allowed")
		return
	end
	KSR.rr.record_route()
	if KSR.dispatcher.ds_select_dst(100, 10) < 0 then
		KSR.sl.sl_send_reply(404, "No destination")
		return
	end
	KSR.tm.t_relay()
end
