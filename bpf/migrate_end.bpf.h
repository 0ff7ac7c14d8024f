/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* migrate_end.bpf.h - sockets are closed. */
#ifndef KCM_MIGRATE_END_BPF_H
#define KCM_MIGRATE_END_BPF_H

/*
 * UDP: nothing else tells of it. TCP: before 6.12 no callback can be asked for on a listener that
 * is older than attach (TCP_BPF_SOCK_OPS_CB_FLAGS): inet_release() tells of its end, just before it
 * stops to listen. Of shutdown() nothing does. Not attached on kernels that have no need of it. It
 * runs for every socket of the cgroup: 6.1 lets it read neither port nor state, the cookie is
 * enough.
 */
SEC("cgroup/sock_release")
int kcm_mg_end(struct bpf_sock *sk)
{
	struct kcm_mg *mg = mg_state();

	if (mg)
		listener_closes(mg, bpf_get_socket_cookie(sk));
	return 1;
}

#endif
