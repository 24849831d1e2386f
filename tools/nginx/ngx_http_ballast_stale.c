
/*
 * Whether an instance has got a request, as far as this host can know, for
 * ngx_http_ballast_outcome.c.  A file of its own, since what the kernel tells
 * of a connection is in <linux/tcp.h>, which nginx's headers exclude.
 */


#include <stddef.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/tcp.h>


int ngx_http_ballast_is_stale(int fd, off_t sent);


/*
 * A connection that has ended, and "sent" bytes that were given to it last:
 * did the other side leave them all unacknowledged?  Then it had closed before
 * they came, or did so without reading them.  TLS makes them more than "sent",
 * never less.  A kernel before 4.19 does not tell: then nobody is blamed.
 */

int
ngx_http_ballast_is_stale(int fd, off_t sent)
{
    socklen_t        len;
    long long        written, taken;
    struct tcp_info  ti;

    len = sizeof(struct tcp_info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) == -1
        || len < offsetof(struct tcp_info, tcpi_bytes_retrans)
                 + sizeof(ti.tcpi_bytes_retrans))
    {
        return 1;
    }

    written = (long long) (ti.tcpi_bytes_sent - ti.tcpi_bytes_retrans)
              + ti.tcpi_notsent_bytes;

    /* the SYN counts, too */

    taken = (long long) ti.tcpi_bytes_acked - 1;

    return written - taken >= sent;
}
