/* A system that misbehaves, for LD_PRELOAD; see unsteady.py.

   UNSTEADY_FAULT="CALL ERRNO PART": CALL (open, read, write, fsync, rename,
       unlink or mkdir) fails with ERRNO on each path that holds PART.
   UNSTEADY_ORDER=SEED: folders are listed in a random order.
   UNSTEADY_CLOCK=FILE: the clock is off by the seconds, int64, in FILE.
   UNSTEADY_HIDE="SECONDS PART": what is younger, and its path holds PART, is
       not there yet for whoever opens it or asks for it.
   UNSTEADY_HELD=PART: NFS where another process holds open each file whose
       path holds PART: unlinked, it stays under a name of .nfs.  */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NEXT(name) \
  static __typeof__(&name) next; \
  if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static char call[16], fault_part[256], hide_part[256];
static int fault_errno, hide_seconds, order_seed;
static const char *held;
static volatile int64_t *clock_offset;

__attribute__((constructor)) static void prepare(void) {
  const char *given = getenv("UNSTEADY_FAULT");
  if (given) sscanf(given, "%15s %d %255s", call, &fault_errno, fault_part);
  if ((given = getenv("UNSTEADY_HIDE")))
    sscanf(given, "%d %255s", &hide_seconds, hide_part);
  if ((given = getenv("UNSTEADY_ORDER"))) order_seed = atoi(given);
  held = getenv("UNSTEADY_HELD");
  if ((given = getenv("UNSTEADY_CLOCK"))) {
    int file = open(given, O_RDONLY);
    void *place = mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (place != MAP_FAILED) clock_offset = place;
  }
}

static int fails(const char *name, const char *path) {
  if (!fault_errno || strcmp(name, call) || !path) return 0;
  if (!strstr(path, fault_part)) return 0;
  errno = fault_errno;
  return 1;
}

/* The path of an open file, which is asked of the system itself. */
static int fd_fails(const char *name, int fd) {
  char link[64], path[PATH_MAX];
  if (!fault_errno || strcmp(name, call)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(name, path);
}

static int is_hidden(const char *path) {
  struct statx found;
  if (!hide_seconds || !path || !strstr(path, hide_part)) return 0;
  if (statx(AT_FDCWD, path, 0, STATX_CTIME, &found)) return 0;
  if (time(NULL) - found.stx_ctime.tv_sec >= hide_seconds) return 0;
  errno = ENOENT;
  return 1;
}

static int take_mode(int flags, va_list more) {
  return (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, int) : 0;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    NEXT(name); \
    va_list more; \
    va_start(more, flags); \
    int mode = take_mode(flags, more); \
    va_end(more); \
    if (fails("open", path) || is_hidden(path)) return -1; \
    return next(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    NEXT(name); \
    va_list more; \
    va_start(more, flags); \
    int mode = take_mode(flags, more); \
    va_end(more); \
    if (fails("open", path) || is_hidden(path)) return -1; \
    return next(folder, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
  FILE *name(const char *path, const char *mode) { \
    NEXT(name); \
    if (fails("open", path) || is_hidden(path)) return NULL; \
    return next(path, mode); \
  }
FOPEN(fopen)
FOPEN(fopen64)

#define STAT(name, type) \
  int name(const char *path, struct type *found) { \
    NEXT(name); \
    return is_hidden(path) ? -1 : next(path, found); \
  }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

int access(const char *path, int mode) {
  NEXT(access);
  return is_hidden(path) ? -1 : next(path, mode);
}

ssize_t read(int fd, void *to, size_t count) {
  NEXT(read);
  return fd_fails("read", fd) ? -1 : next(fd, to, count);
}

#define PREAD(name, type) \
  ssize_t name(int fd, void *to, size_t count, type place) { \
    NEXT(name); \
    return fd_fails("read", fd) ? -1 : next(fd, to, count, place); \
  }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

ssize_t write(int fd, const void *from, size_t count) {
  NEXT(write);
  return fd_fails("write", fd) ? -1 : next(fd, from, count);
}

#define PWRITE(name, type) \
  ssize_t name(int fd, const void *from, size_t count, type place) { \
    NEXT(name); \
    return fd_fails("write", fd) ? -1 : next(fd, from, count, place); \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

size_t fwrite(const void *from, size_t size, size_t count, FILE *file) {
  NEXT(fwrite);
  return fd_fails("write", fileno(file)) ? 0 : next(from, size, count, file);
}

int fsync(int fd) {
  NEXT(fsync);
  return fd_fails("fsync", fd) ? -1 : next(fd);
}

int mkdir(const char *path, mode_t mode) {
  NEXT(mkdir);
  return fails("mkdir", path) ? -1 : next(path, mode);
}

int rename(const char *from, const char *to) {
  NEXT(rename);
  return fails("rename", to) ? -1 : next(from, to);
}

/* What NFS does instead of unlinking a file that is open. */
static int unlink_held(int folder, const char *name, const char *whole) {
  char to[PATH_MAX];
  const char *last = strrchr(name, '/');
  static int count;
  if (strstr(whole, "/.nfs")) {
    errno = EBUSY;
    return -1;
  }
  snprintf(to, sizeof to, "%.*s.nfs%08d", last ? (int)(last - name + 1) : 0,
           name, ++count);
  return renameat(folder, name, folder, to);
}

int unlinkat(int folder, const char *name, int flags) {
  NEXT(unlinkat);
  char link[64], whole[PATH_MAX];
  whole[0] = 0;
  if (folder != AT_FDCWD && name[0] != '/') {
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, PATH_MAX / 2);
    whole[length < 0 ? 0 : length] = 0;
    strcat(whole, "/");
  }
  strncat(whole, name, PATH_MAX / 2 - 1);
  if (flags & AT_REMOVEDIR) return next(folder, name, flags);
  if (fails("unlink", whole)) return -1;
  if (held && strstr(whole, held)) return unlink_held(folder, name, whole);
  return next(folder, name, flags);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

/* A folder's entries, all read at its first one, and then shuffled. */
struct listing {
  DIR *folder;
  struct dirent64 **entries;
  int count, place;
  struct listing *following;
};
static __thread struct listing *listings;

static struct listing *listing_of(DIR *folder) {
  for (struct listing *one = listings; one; one = one->following)
    if (one->folder == folder) return one;
  NEXT(readdir64);
  struct listing *made = calloc(1, sizeof *made);
  struct dirent64 *entry;
  made->folder = folder;
  while ((entry = next(folder))) {
    made->entries =
        realloc(made->entries, (made->count + 1) * sizeof *made->entries);
    made->entries[made->count] = malloc(entry->d_reclen);
    memcpy(made->entries[made->count++], entry, entry->d_reclen);
  }
  unsigned random = 2654435761u * order_seed + made->count;
  for (int last = made->count - 1; last > 0; last--) {
    int other = rand_r(&random) % (last + 1);
    struct dirent64 *kept = made->entries[last];
    made->entries[last] = made->entries[other];
    made->entries[other] = kept;
  }
  made->following = listings;
  return listings = made;
}

struct dirent64 *readdir64(DIR *folder) {
  NEXT(readdir64);
  if (!order_seed) return next(folder);
  struct listing *all = listing_of(folder);
  return all->place < all->count ? all->entries[all->place++] : NULL;
}

struct dirent *readdir(DIR *folder) {
  return (struct dirent *)readdir64(folder); /* the same on 64 bits */
}

int closedir(DIR *folder) {
  NEXT(closedir);
  for (struct listing **one = &listings; *one; one = &(*one)->following)
    if ((*one)->folder == folder) {
      struct listing *gone = *one;
      *one = gone->following;
      free(gone); /* its entries may still be looked at */
      break;
    }
  return next(folder);
}

int clock_gettime(clockid_t kind, struct timespec *now) {
  NEXT(clock_gettime);
  int failed = next(kind, now);
  if (clock_offset && (kind == CLOCK_REALTIME || kind == CLOCK_REALTIME_COARSE))
    now->tv_sec += *clock_offset;
  return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec found;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &found);
  now->tv_sec = found.tv_sec;
  now->tv_usec = found.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *to) {
  struct timespec found;
  clock_gettime(CLOCK_REALTIME, &found);
  if (to) *to = found.tv_sec;
  return found.tv_sec;
}
