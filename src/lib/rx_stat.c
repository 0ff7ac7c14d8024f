// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* rx_stat.c - counters where kcmtool finds them, see rx_stat.h. */
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rx_conn.h"

_Static_assert(RX_STAT_WHYS >= KCM_RX_WHYS, "raise RX_STAT_WHYS and RX_STAT_LAYOUT");

static struct {
	pthread_mutex_t lock;
	struct rx_stat_page *page;
	int fd;
	pid_t pid;
	unsigned int used;
} own = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool page_open(void)
{
	struct rx_stat_page *p;
	int fd = memfd_create(RX_STAT_NAME, MFD_CLOEXEC);

	if (fd < 0)
		return false;
	if (ftruncate(fd, sizeof(*p))) {
		close(fd);
		return false;
	}
	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		return false;
	}
	p->head.layout = RX_STAT_LAYOUT;
	p->head.slots = RX_STAT_SLOTS;
	p->head.pid = (uint32_t)getpid();
	__atomic_store_n(&p->head.magic, RX_STAT_MAGIC, __ATOMIC_RELEASE);
	own.page = p;
	own.fd = fd;
	own.pid = getpid();
	own.used = 0;
	return true;
}

static void page_close(void)
{
	munmap(own.page, sizeof(*own.page));
	close(own.fd);
	own.page = NULL;
}

static void put_addr(int fd, bool peer, struct rx_stat_slot *s)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	const struct sockaddr_in6 *six = (const void *)&ss;
	const struct sockaddr_in *four = (const void *)&ss;
	struct sockaddr *sa = (void *)&ss;
	uint16_t port;

	if (peer ? getpeername(fd, sa, &len) : getsockname(fd, sa, &len))
		return;
	s->family = ss.ss_family;
	if (ss.ss_family == AF_INET6)
		memcpy(peer ? s->raddr : s->laddr, &six->sin6_addr, 16);
	else
		memcpy(peer ? s->raddr : s->laddr, &four->sin_addr, 4);
	port = ntohs(ss.ss_family == AF_INET6 ? six->sin6_port : four->sin_port);
	if (peer)
		s->rport = port;
	else
		s->lport = port;
}

struct rx_stat_slot *rx_stat_open(const struct kcm_rx *rx)
{
	struct rx_stat_slot *s = NULL;

	pthread_mutex_lock(&own.lock);
	/* A child has its own: the one it inherited is the parent's. */
	if (own.page && own.pid != getpid())
		page_close();
	if (own.page || page_open()) {
		for (int i = 0; i < RX_STAT_SLOTS && !s; i++)
			if (!own.page->slot[i].cookie)
				s = &own.page->slot[i];
		if (s) {
			memset(s, 0, sizeof(*s));
			s->seq = 1;
			put_addr(rx->fd, false, s);
			put_addr(rx->fd, true, s);
			s->fd = (uint32_t)rx->fd;
			s->mode = rx->mode;
			s->limit_bytes = rx->limit_bytes;
			__atomic_store_n(&s->cookie, rx->cookie, __ATOMIC_RELEASE);
			__atomic_store_n(&s->seq, 2, __ATOMIC_RELEASE);
			own.used++;
		} else {
			own.page->head.unseen++;
		}
	}
	pthread_mutex_unlock(&own.lock);
	return s;
}

void rx_stat_close(struct rx_stat_slot *s)
{
	pthread_mutex_lock(&own.lock);
	if (own.page && own.pid == getpid()) {
		if (s) {
			__atomic_store_n(&s->cookie, 0, __ATOMIC_RELEASE);
			own.used--;
		} else if (own.page->head.unseen) {
			own.page->head.unseen--;
		}
		if (!own.used && !own.page->head.unseen)
			page_close();
	}
	pthread_mutex_unlock(&own.lock);
}

void rx_stat_put(struct kcm_rx *rx)
{
	struct rx_stat_slot *s = rx->slot;

	if (!s)
		return;
	__atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	s->now = rx->choice.now;
	s->why = rx->choice.why;
	s->messages = rx->st.messages;
	s->bytes = rx->st.bytes;
	s->mapped_bytes = rx->st.mapped_bytes;
	s->mapped_messages = rx->st.mapped_messages;
	s->one_piece = rx->st.one_piece;
	memcpy(s->copied_bytes, rx->st.copied_bytes, sizeof(rx->st.copied_bytes));
	s->calls = rx->st.calls;
	s->waits = rx->st.waits;
	s->releases = rx->st.releases;
	s->switches = rx->st.switches;
	s->held_bytes = rx_held(rx);
	s->map_ps_per_byte = rx->choice.map_ps;
	s->copy_ps_per_byte = rx->choice.copy_ps;
	__atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_RELEASE);
}
