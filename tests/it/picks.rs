//! A script that only selects, and reports all that a script can see of the selection.

use crate::calls::with;
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Kamailio};

/// `X-Set`, `X-Alg` and, if it is there, `X-Limit` are the arguments.
const ROUTE: &str = r#"
request_route {
	if (!is_method("INVITE")) exit;
	$var(set) = $(hdr(X-Set){s.int});
	$var(alg) = $(hdr(X-Alg){s.int});
	$var(limit) = $(hdr(X-Limit){s.int});
	if (is_present_hf("X-Limit")) $var(found) = ds_select_dst("$var(set)", "$var(alg)", "$var(limit)");
	else $var(found) = ds_select_dst("$var(set)", "$var(alg)");
	if ($var(found) > 0) append_to_reply("X-Dst: $du\r\n");
	append_to_reply("X-Count: $xavp(_dsctx_=>cnt)\r\n");
	$var(i) = 0;
	while ($xavp(_dsdst_[$var(i)]=>uri) != $null) {
		append_to_reply("X-Entry: uri=$xavp(_dsdst_[$var(i)]=>uri) grp=$xavp(_dsdst_[$var(i)]=>grp)\r\n");
		append_to_reply("X-More: attrs=$xavp(_dsdst_[$var(i)]=>attrs) dstid=$xavp(_dsdst_[$var(i)]=>dstid)\r\n");
		append_to_reply("X-Sock: $xavp(_dsdst_[$var(i)]=>socket) $xavp(_dsdst_[$var(i)]=>sockname)\r\n");
		$var(i) = $var(i) + 1;
	}
	while (ds_next_dst()) append_to_reply("X-Next: $du\r\n");
	sl_send_reply("200", "OK");
}
"#;

/// What a script saw; equal picks are equal to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// `$du`, if the selection was true.
    pub dst: Option<String>,
    /// `$xavp(_dsctx_=>cnt)`.
    pub count: String,
    /// uri and grp of each entry of the list.
    pub entries: Vec<String>,
    /// attrs and dstid of each.
    pub more: Vec<String>,
    /// socket and sockname of each.
    pub sockets: Vec<String>,
    /// `$du` after each `ds_next_dst()` that was true.
    pub next: Vec<String>,
}

pub fn picking(list: impl Into<String>, modparams: &str) -> Builder {
    Kamailio::builder().list(list).modparam(modparams).route(ROUTE)
}

/// What is asked of `ds_select_dst`.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub set: i64,
    pub alg: i64,
    pub limit: Option<i64>,
    pub call_id: &'a str,
}

impl Ask<'_> {
    #[track_caller]
    pub fn pick(self, agent: &mut Agent) -> Pick {
        let mut call: Call = with(agent.call_with_id(self.call_id), "X-Set", &self.set.to_string());
        call = with(call, "X-Alg", &self.alg.to_string());
        if let Some(limit) = self.limit {
            call = with(call, "X-Limit", &limit.to_string());
        }
        agent.send(&call.invite());
        let answer = agent.answer(&call, "INVITE");
        let all = |name| answer.values(name).map(str::to_owned).collect::<Vec<_>>();
        Pick {
            dst: answer.header("X-Dst").map(str::to_owned),
            count: answer.header("X-Count").unwrap_or_default().to_owned(),
            entries: all("X-Entry"),
            more: all("X-More"),
            sockets: all("X-Sock"),
            next: all("X-Next"),
        }
    }
}
