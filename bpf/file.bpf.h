/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* file.bpf.h - what iterators over descriptors (iter/task_file) have in common. */
#ifndef KCM_FILE_BPF_H
#define KCM_FILE_BPF_H

/* The socket behind an open file; NULL: it is none, or there is no file: the iterator's end. */
static __always_inline struct sock *sock_of_file(struct file *file)
{
	struct socket *socket = file ? bpf_sock_from_file(file) : NULL;

	return socket ? socket->sk : NULL;
}

#endif
