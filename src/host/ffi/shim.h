/* Kamailio's macros and inlines as functions, sorted; the bodies are in shim.c. */
#ifndef DISPATCHER_SHIM_H
#define DISPATCHER_SHIM_H

#include <stddef.h>
#include "core/parser/msg_parser.h"
#include "core/resolve.h"
#include "core/socket_info.h"
#include "modules/tm/tm_load.h"
#include "modules/xhttp/api.h"

int shim_bind_sl(sl_api_t *api);
int shim_bind_xhttp(xhttp_api_t *api);
int shim_cseq_method(struct sip_msg *msg);
str shim_cseq_number(struct sip_msg *msg);
str shim_from_tag(struct sip_msg *msg);
str shim_from_uri(struct sip_msg *msg);
int shim_has_tm(void);
unsigned int shim_hash(const char *text, int len);
int shim_is_faked_reply(struct sip_msg *msg);
int shim_is_http(struct sip_msg *msg);
int shim_load_tm(struct tm_binds *tm);
void shim_log(int level, const char *text, int len);
struct hostent *shim_next_hop(str *name, unsigned short *port, char *proto);
long shim_random(void);
struct hostent *shim_resolve_for_sip(str *name, unsigned short *port, char *proto);
struct hostent *shim_resolve_name(char *name);
int shim_route_type(void);
str *shim_ruri(struct sip_msg *msg);
void shim_ruri_mark_new(void);
int shim_set_host(struct sip_msg *msg, char *host);
void shim_shm_free(void *block);
void shim_shm_lock(void);
void *shim_shm_malloc(size_t size);
void *shim_shm_malloc_unsafe(size_t size);
void shim_shm_unlock(void);
int shim_tm_address(struct cell *t, int branch, struct ip_addr *ip);
int shim_tm_branches(struct cell *t);
str shim_tm_call_id(struct cell *t);
str shim_tm_cseq_number(struct cell *t);
str shim_tm_from_tag(struct cell *t);
int shim_tm_has_tried(struct cell *t);
void shim_tm_identity(struct cell *t, unsigned int *index, unsigned int *label);
int shim_tm_is_continued(struct cell *t);
int shim_tm_is_suspended(struct cell *t);
struct cell *shim_tm_known(struct cell *t);
str shim_tm_request(struct cell *t);
int shim_tm_same_name(struct cell *t, int one, int other);
int shim_tm_status(struct cell *t, int branch);
int shim_tm_was_heard(struct cell *t, int branch);
int shim_tm_was_sent(struct cell *t, int branch);
void **shim_tm_word(struct cell *t, transaction_cb *callback);
str shim_to_tag(struct sip_msg *msg);
str shim_to_uri(struct sip_msg *msg);

#endif
