/* One function for each macro or inline of Kamailio that the module needs. */
#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/action.h"
#include "core/cfg_core.h"
#include "core/dns_cache.h"
#include "core/dset.h"
#include "core/globals.h"
#include "core/hashes.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_cseq.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_to.h"
#include "core/rand/kam_rand.h"
#include "core/resolve.h"
#include "core/route.h"
#include "modules/sl/sl.h"
#include "modules/tm/h_table.h"
#include "modules/tm/t_lookup.h"
#include "modules/tm/tm_load.h"
#include "shim.h"

/* The host's own way logs an error where the module is not there. */
int shim_bind_sl(sl_api_t *api)
{
	bind_sl_f bind = (bind_sl_f)find_export("bind_sl", 0, 0);
	return bind == NULL ? -1 : bind(api);
}

/* The same. */
int shim_bind_xhttp(xhttp_api_t *api)
{
	bind_xhttp_f bind = (bind_xhttp_f)find_export("bind_xhttp", 0, 0);
	return bind == NULL ? -1 : bind(api);
}

int shim_cseq_method(struct sip_msg *msg)
{
	return get_cseq(msg)->method_id;
}

str shim_cseq_number(struct sip_msg *msg)
{
	return get_cseq(msg)->number;
}

str shim_from_tag(struct sip_msg *msg)
{
	return get_from(msg)->tag_value;
}

str shim_from_uri(struct sip_msg *msg)
{
	return get_from(msg)->uri;
}

int shim_has_tm(void)
{
	return find_export("load_tm", NO_SCRIPT, 0) != NULL;
}

unsigned int shim_hash(const char *text, int len)
{
	return get_hash1_raw(text, len);
}

int shim_is_faked_reply(struct sip_msg *msg)
{
	return msg == FAKED_REPLY;
}

int shim_is_http(struct sip_msg *msg)
{
	return IS_HTTP(msg) != 0;
}

int shim_load_tm(struct tm_binds *tm)
{
	return load_tm_api(tm);
}

/* The module's name is the whole prefix: a line of the shim tells an operator nothing. */
void shim_log(int level, const char *text, int len)
{
	LOG_FN(DEFAULT_FACILITY, level, "dispatcher: ", "%.*s\n", len, text);
}

/* Where the host itself would send to. With use_dns_failover it looks names up in another way, which also finds SRV records
 * with a TTL of 0 and those of any transport. */
struct hostent *shim_next_hop(str *name, unsigned short *port, char *proto)
{
	struct dns_srv_handle handle;
	struct ip_addr ip;
	int found;

	if (!cfg_get(core, core_cfg, use_dns_cache) || !cfg_get(core, core_cfg, use_dns_failover))
		return sip_resolvehost(name, port, proto);
	dns_srv_handle_init(&handle);
	found = dns_sip_resolve(&handle, name, &ip, port, proto, dns_flags);
	dns_srv_handle_put(&handle);
	return found < 0 ? NULL : ip_addr2he(name, &ip);
}

long shim_random(void)
{
	return kam_rand();
}

/* With an empty port or protocol the host asks for SRV and NAPTR records too, and fills both in. */
struct hostent *shim_resolve_for_sip(str *name, unsigned short *port, char *proto)
{
	return sip_resolvehost(name, port, proto);
}

struct hostent *shim_resolve_name(char *name)
{
	return resolvehost(name);
}

int shim_route_type(void)
{
	return get_route_type();
}

str *shim_ruri(struct sip_msg *msg)
{
	return GET_RURI(msg);
}

void shim_ruri_mark_new(void)
{
	ruri_mark_new();
}

/* The host and all after it in the request URI, as the core's own action does it. */
int shim_set_host(struct sip_msg *msg, char *host)
{
	struct run_act_ctx context = {0};
	struct action action = {.type = SET_HOSTALL_T, .val[0] = {.type = STRING_ST, .u.string = host}};
	return do_action(&context, &action, msg);
}

void shim_shm_free(void *block)
{
	shm_free(block);
}

void shim_shm_lock(void)
{
	shm_global_lock();
}

void *shim_shm_malloc(size_t size)
{
	return shm_malloc(size);
}

void *shim_shm_malloc_unsafe(size_t size)
{
	return shm_malloc_unsafe(size);
}

void shim_shm_unlock(void)
{
	shm_global_unlock();
}

/* The port to which a branch goes, with its address, where that is known; else a negative number. */
int shim_tm_address(struct cell *t, int branch, struct ip_addr *ip)
{
	union sockaddr_union *to = &t->uac[branch].request.dst.to;

	if (to->s.sa_family == AF_UNSPEC)
		return -1;
	su2ip_addr(ip, to);
	return su_getport(to);
}

int shim_tm_branches(struct cell *t)
{
	return t->nr_of_outgoings;
}

str shim_tm_call_id(struct cell *t)
{
	struct sip_msg *request = t->uas.request;
	str none = {0, 0};

	return request == NULL || request->callid == NULL ? none : request->callid->body;
}

str shim_tm_cseq_number(struct cell *t)
{
	struct sip_msg *request = t->uas.request;
	str none = {0, 0};

	return request == NULL || request->cseq == NULL ? none : get_cseq(request)->number;
}

/* The host has parsed the From of an INVITE before it makes its copy. */
str shim_tm_from_tag(struct cell *t)
{
	struct sip_msg *request = t->uas.request;
	str none = {0, 0};

	return request == NULL || request->from == NULL || request->from->parsed == NULL ? none : get_from(request)->tag_value;
}

/* A blind branch stands for a suspended request: nothing was sent on it. */
int shim_tm_has_tried(struct cell *t)
{
	int i;

	for (i = 0; i < t->nr_of_outgoings; i++)
		if (!(t->uac[i].flags & TM_UAC_FLAG_BLIND))
			return 1;
	return 0;
}

void shim_tm_identity(struct cell *t, unsigned int *index, unsigned int *label)
{
	*index = t->hash_index;
	*label = t->label;
}

int shim_tm_is_continued(struct cell *t)
{
	return (t->flags & T_ASYNC_CONTINUE) != 0;
}

int shim_tm_is_suspended(struct cell *t)
{
	return (t->flags & T_ASYNC_SUSPENDED) != 0;
}

struct cell *shim_tm_known(struct cell *t)
{
	return t == T_UNDEFINED ? NULL : t;
}

/* The text of the request of a transaction that the host has begun. */
str shim_tm_request(struct cell *t)
{
	str text = {t->uac[0].request.buffer, t->uac[0].request.buffer_len};

	return text;
}

/* Branches that DNS failover adds take the handle of the branch that failed along. */
int shim_tm_same_name(struct cell *t, int one, int other)
{
	struct dns_srv_handle *a = &t->uac[one].dns_h, *b = &t->uac[other].dns_h;

	return a->srv != NULL ? a->srv == b->srv : a->a != NULL && b->srv == NULL && a->a == b->a;
}

int shim_tm_status(struct cell *t, int branch)
{
	return t->uac[branch].last_received;
}

/* The host waits for longer from the first provisional reply on. */
int shim_tm_was_heard(struct cell *t, int branch)
{
	return (t->uac[branch].request.flags & F_RB_FR_INV) != 0;
}

/* Where sending fails the host notes a time-out, though it never started the timer. */
int shim_tm_was_sent(struct cell *t, int branch)
{
	return t->uac[branch].last_received < 200 || t->uac[branch].request.fr_expire != 0;
}

/* Where the host keeps the word that it hands to this callback. */
void **shim_tm_word(struct cell *t, transaction_cb *callback)
{
	struct tm_callback *at = (struct tm_callback *)t->tmcb_hl.first;

	while (at != NULL && at->callback != callback)
		at = at->next;
	return at == NULL ? NULL : &at->param;
}

str shim_to_tag(struct sip_msg *msg)
{
	return get_to(msg)->tag_value;
}

str shim_to_uri(struct sip_msg *msg)
{
	return get_to(msg)->uri;
}
