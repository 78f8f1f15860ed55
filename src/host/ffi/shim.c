/* One function for each macro or inline of Kamailio that the module needs. */
#include "core/sr_module.h"
#include "core/dprint.h"
#include "core/action.h"
#include "core/cfg_core.h"
#include "core/dns_cache.h"
#include "core/dset.h"
#include "core/globals.h"
#include "core/mem/shm_mem.h"
#include "core/parser/parse_cseq.h"
#include "core/parser/parse_from.h"
#include "core/parser/parse_to.h"
#include "core/rand/kam_rand.h"
#include "core/resolve.h"
#include "core/route.h"
#include "modules/tm/tm_load.h"
#include "shim.h"

/* The host's own way logs an error where the module is not there. */
int shim_bind_xhttp(xhttp_api_t *api)
{
	bind_xhttp_f bind = (bind_xhttp_f)find_export("bind_xhttp", 0, 0);
	return bind == NULL ? -1 : bind(api);
}

int shim_cseq_method(struct sip_msg *msg)
{
	return get_cseq(msg)->method_id;
}

str shim_from_uri(struct sip_msg *msg)
{
	return get_from(msg)->uri;
}

int shim_has_to_tag(struct sip_msg *msg)
{
	return get_to(msg)->tag_value.len > 0;
}

int shim_is_faked_reply(struct sip_msg *msg)
{
	return msg == FAKED_REPLY;
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

void *shim_shm_malloc(size_t size)
{
	return shm_malloc(size);
}

str shim_to_uri(struct sip_msg *msg)
{
	return get_to(msg)->uri;
}
