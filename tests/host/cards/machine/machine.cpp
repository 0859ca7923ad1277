// A machine with an FPGA card, in user space: it runs a command, and behind the command's mappings of the card's PCIe
// files it puts the emitted core. The command is not changed and knows nothing of it.
//
//   machine LIBRARY ROOT FAULT AFTER COMMAND...
//
// A mapping of ROOT/sys/bus/pci/devices/*/resource* is made without access, so each load and store in it stops the
// command here; the instruction is decoded, done on the core's buses and stepped over, as trapping emulators of MMIO do.
// Only the forms the driver's accesses compile to are known; any other ends the command with SIGILL and says why. A mapping
// maps of ROOT/dev/hugepages gets ordinary ones and made-up physical addresses, told in ROOT/proc/self/pagemap; what the core
// writes there over PCIM is copied to the command's memory, the slot number last, while bus mastering is on in the function's
// configuration file. The core's counter `now` is the wall clock, 4 ns a tick, and the core runs on beside the command; a
// store of a whole beat is held back until its answer is out, so that nothing depends on this machine's speed.
//
// ROOT/card/loaded and /loads say whether an image is in, and how often one was loaded; /switches are the DIP switches;
// the lamps are written to /lamps. FAULT strikes at the AFTER-th record: none, all-ones, silent, lose, flip, reorder; or
// from the beginning: dead, and of memory hidden-frames, scattered-frames, absent-frames.
#include <cpuid.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr uint64_t PAGE = 4096, BEAT = 64;
constexpr uint64_t PHYSICAL = uint64_t{1} << 33, MEMORY = uint64_t{64} << 20;
// Where the command gets its huge pages: low, so that the made-up pagemap stays a small file.
constexpr uint64_t LOW = uint64_t{4} << 30, HUGE_PAGE = uint64_t{2} << 20;
constexpr uint32_t ALL_ONES = 0xFFFFFFFF;
constexpr uint64_t ANSWER_CYCLES = 192;  // longer than any record takes from its beat
constexpr int BACKGROUND_CYCLES = 64;
constexpr long POLL_NS = 200'000;

enum class Window { OCL, SDA, PCIS };
struct Mapping {
    uint64_t address, length;
    Window window;
};
struct HostPages {
    pid_t process;
    uint64_t address, length, physical;
};
struct Counters {
    uint64_t cycles, records;
};

// --- the core

void *library;
template <class F> F symbol(const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "machine: no %s in the library\n", name);
        exit(90);
    }
    return reinterpret_cast<F>(found);
}
void *card;
Counters *counters;
void (*card_reset)(void *);
void (*card_step)(void *, uint64_t);
uint64_t (*card_run)(void *, uint64_t, uint64_t);
void (*card_set_now)(void *, uint64_t);
void (*card_set_ring)(void *, void *, uint64_t, uint64_t);
void (*card_set_vdip)(void *, uint32_t);
uint32_t (*card_vled)(void *);
int (*card_ocl_read)(void *, uint32_t, uint32_t *), (*card_sda_read)(void *, uint32_t, uint32_t *);
int (*card_ocl_write)(void *, uint32_t, uint32_t), (*card_sda_write)(void *, uint32_t, uint32_t);
int (*card_write_strobed)(void *, int64_t, const void *, uint64_t);

void load_core(const char *path) {
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "machine: %s\n", dlerror());
        exit(90);
    }
    card = symbol<void *(*)()>("card_new")();
    counters = static_cast<Counters *>(symbol<void *(*)(void *)>("card_counters")(card));
#define BIND(name) name = symbol<decltype(name)>(#name)
    BIND(card_reset), BIND(card_step), BIND(card_run), BIND(card_set_now), BIND(card_set_ring), BIND(card_set_vdip);
    BIND(card_vled), BIND(card_ocl_read), BIND(card_sda_read), BIND(card_ocl_write), BIND(card_sda_write);
    BIND(card_write_strobed);
}

// --- the machine

std::string root, fault;
uint64_t fault_after;
uint8_t *memory;
uint64_t memory_used = 0, cursor = 0, delivered = 0, seen_records = 0;
std::vector<HostPages> host_pages;
std::map<pid_t, std::vector<Mapping>> mappings;
std::map<pid_t, pid_t> groups;
std::set<pid_t> known;
std::string config_file;
bool loaded = false, dead = false, silent = false;
long loads = 0, lamps = -1;
uint8_t kept[BEAT];
uint64_t kept_at = 0;
bool keeping = false;

uint64_t wall_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return uint64_t(now.tv_sec) * 1'000'000'000 + uint64_t(now.tv_nsec);
}

long number_in(const std::string &name, long otherwise) {
    std::ifstream file(root + "/card/" + name);
    long value;
    return file >> value ? value : otherwise;
}

void look_around() {
    static uint64_t next = 0;
    const uint64_t now = wall_ns();
    if (now < next) return;
    next = now + 1'000'000;
    loaded = number_in("loaded", 0) != 0;
    const long count = number_in("loads", 0);
    if (count != loads) loads = count, card_reset(card);
    card_set_vdip(card, uint32_t(number_in("switches", 0)));
    const long shown = loaded ? long(card_vled(card)) : 0;
    if (shown != lamps) {
        std::ofstream(root + "/card/lamps.new") << shown;
        rename((root + "/card/lamps.new").c_str(), (root + "/card/lamps").c_str());
        lamps = shown;
    }
    uint8_t command = 0;
    const int file = open(config_file.c_str(), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (pread(file, &command, 1, 4) != 1) command = 0;
        close(file);
    }
    card_set_ring(card, command & 4 ? memory : nullptr, PHYSICAL, MEMORY);
}

// A counter that stood still for long is seen a few cycles late inside the core.
void keep_time() {
    static uint64_t last = 0;
    const uint64_t now = wall_ns();
    card_set_now(card, now / 4);
    if (now - last > 20'000) card_step(card, 16);
    last = now;
}

void hand_over(uint64_t offset, const uint8_t *record) {
    for (const HostPages &pages : host_pages) {
        const uint64_t begin = pages.physical - PHYSICAL;
        if (offset < begin || offset >= begin + pages.length) continue;
        const uint64_t target = pages.address + offset - begin;
        for (auto [at, count] : {std::pair<uint64_t, uint64_t>{0, BEAT - 8}, {BEAT - 8, 8}}) {
            iovec from{const_cast<uint8_t *>(record) + at, count}, to{reinterpret_cast<void *>(target + at), count};
            process_vm_writev(pages.process, &from, 1, &to, 1, 0);
        }
    }
}

void deliver(uint64_t offset, uint8_t *record) {
    delivered++;
    const bool now = delivered == fault_after;
    if (now && fault == "all-ones") dead = true;
    if (now && fault == "silent") silent = true;
    if (dead || silent || (now && fault == "lose")) return;
    if (now && fault == "flip") record[20] ^= 0x10;
    if (now && fault == "reorder") {
        std::memcpy(kept, record, BEAT);
        kept_at = offset, keeping = true;
        return;
    }
    hand_over(offset, record);
    if (keeping) keeping = false, hand_over(kept_at, kept);
}

// Records come one behind the other, so the next is found where the last one ended, or at the ring's beginning.
void deliver_records() {
    uint64_t looked = 0;
    while (seen_records < counters->records && looked < MEMORY / BEAT) {
        uint8_t *slot = memory + cursor;
        uint32_t number;
        std::memcpy(&number, slot + BEAT - 8, 4);
        if (number) {
            uint8_t record[BEAT];
            std::memcpy(record, slot, BEAT);
            std::memset(slot, 0, BEAT);
            seen_records++, looked = 0;
            deliver(cursor, record);
        }
        looked++;
        cursor = (cursor + BEAT) % (memory_used ? memory_used : BEAT);
    }
    seen_records = counters->records;
}

void run_core(int cycles) {
    if (dead || !loaded) return;
    keep_time();
    card_step(card, cycles);
    if (counters->records != seen_records) deliver_records();
}

uint32_t register_read(Window window, uint64_t offset) {
    look_around();
    if (dead || !loaded) return ALL_ONES;
    keep_time();
    uint32_t value = ALL_ONES;
    (window == Window::OCL ? card_ocl_read : card_sda_read)(card, uint32_t(offset), &value);
    if (counters->records != seen_records) deliver_records();
    return value;
}

void store(Window window, uint64_t offset, const uint8_t *data, uint64_t bytes) {
    look_around();
    if (dead || !loaded) return;
    keep_time();
    if (window != Window::PCIS) {
        uint32_t value;
        std::memcpy(&value, data, 4);
        (window == Window::OCL ? card_ocl_write : card_sda_write)(card, uint32_t(offset), value);
    } else {
        uint8_t beat[BEAT] = {};
        const uint64_t at = offset % BEAT;
        std::memcpy(beat + at, data, bytes);
        const uint64_t strobe = bytes == BEAT ? ~uint64_t{0} : ((uint64_t{1} << bytes) - 1) << at;
        card_write_strobed(card, int64_t(offset - at), beat, strobe);
        if (at + bytes == BEAT) card_run(card, 1, ANSWER_CYCLES);
    }
    if (counters->records != seen_records) deliver_records();
}

// --- instructions

struct Access {
    int length = 0;  // of the instruction; 0: not known
    bool is_store = false, vector = false, immediate = false;
    int bytes = 0, number = 0;
    uint32_t value = 0;
};

int operand_length(const uint8_t *modrm) {
    const int mode = modrm[0] >> 6, base = modrm[0] & 7;
    if (mode == 3) return 0;
    int length = 1 + (base == 4);
    if (mode == 1) length += 1;
    if (mode == 2 || (mode == 0 && (base == 5 || (base == 4 && (modrm[1] & 7) == 5)))) length += 4;
    return length;
}

bool vector_store(uint8_t opcode) {
    return opcode == 0x11 || opcode == 0x29 || opcode == 0x2B || opcode == 0x7F || opcode == 0xE7;
}

Access decode(const uint8_t *code) {
    Access found;
    const uint8_t *at = code;
    bool word = false;
    int rex = 0;
    for (;; at++) {
        if (*at == 0x66) word = true;
        else if ((*at & 0xF0) == 0x40) rex = *at;
        else if (*at != 0xF3 && *at != 0x2E && *at != 0x3E) break;
    }
    int high = (rex & 4) << 1;
    if (*at == 0x8B || *at == 0x89 || *at == 0xC7) {
        if (word || rex & 8) return found;
        found.is_store = *at != 0x8B, found.immediate = *at == 0xC7, found.bytes = 4;
    } else {
        found.is_store = found.vector = true;
        if (*at == 0x0F) {
            at++, found.bytes = 16;
        } else if (*at == 0xC5) {
            high = at[1] & 0x80 ? 0 : 8, found.bytes = at[1] & 4 ? 32 : 16, at += 2;
        } else if (*at == 0xC4 && (at[1] & 0x1F) == 1) {
            high = at[1] & 0x80 ? 0 : 8, found.bytes = at[2] & 4 ? 32 : 16, at += 3;
        } else if (*at == 0x62 && (at[1] & 7) == 1 && (at[3] & 0x17) == 0) {
            high = (at[1] & 0x80 ? 0 : 8) | (at[1] & 0x10 ? 0 : 16), found.bytes = 16 << (at[3] >> 5 & 3), at += 4;
        } else {
            return found;
        }
        if (!vector_store(*at)) return found;
    }
    const uint8_t *modrm = ++at;
    const int operand = operand_length(modrm);
    if (!operand || found.bytes > int(BEAT)) return found;
    at += operand;
    found.number = (modrm[0] >> 3 & 7) | high;
    if (found.immediate) std::memcpy(&found.value, at, 4), at += 4;
    found.length = int(at - code);
    return found;
}

unsigned long long *general(user_regs_struct &regs, int number) {
    unsigned long long *table[] = {&regs.rax, &regs.rcx, &regs.rdx, &regs.rbx, &regs.rsp, &regs.rbp, &regs.rsi, &regs.rdi,
                                   &regs.r8,  &regs.r9,  &regs.r10, &regs.r11, &regs.r12, &regs.r13, &regs.r14, &regs.r15};
    return table[number & 15];
}

uint32_t state_offset(int component) {
    uint32_t a = 0, b = 0, c = 0, d = 0;
    __get_cpuid_count(0xD, uint32_t(component), &a, &b, &c, &d);
    return b;
}

void vector_register(pid_t thread, int number, uint8_t *data) {
    static uint8_t state[16384];
    iovec area{state, sizeof state};
    ptrace(PTRACE_GETREGSET, thread, NT_X86_XSTATE, &area);
    if (number >= 16) {
        std::memcpy(data, state + state_offset(7) + 64 * (number - 16), 64);
        return;
    }
    std::memcpy(data, state + 160 + 16 * number, 16);
    if (area.iov_len > 576) std::memcpy(data + 16, state + state_offset(2) + 16 * number, 16);
    if (area.iov_len > state_offset(6) && state_offset(6)) std::memcpy(data + 32, state + state_offset(6) + 32 * number, 32);
}

bool perform(pid_t thread, const Mapping &mapping, uint64_t offset) {
    user_regs_struct regs;
    ptrace(PTRACE_GETREGS, thread, nullptr, &regs);
    uint8_t code[24];
    for (int i = 0; i < 3; i++) {
        const long word = ptrace(PTRACE_PEEKTEXT, thread, regs.rip + 8 * i, nullptr);
        std::memcpy(code + 8 * i, &word, 8);
    }
    const Access access = decode(code);
    const bool registers = mapping.window != Window::PCIS;
    if (!access.length || (registers && access.bytes != 4) || offset % access.bytes || (!registers && !access.is_store)) {
        fprintf(stderr, "machine: unknown access at offset %#lx:", static_cast<unsigned long>(offset));
        for (int i = 0; i < 16; i++) fprintf(stderr, " %02x", code[i]);
        fprintf(stderr, "\n");
        return false;
    }
    if (access.is_store) {
        uint8_t data[BEAT];
        const uint32_t value = access.immediate ? access.value : uint32_t(*general(regs, access.number));
        if (access.vector) vector_register(thread, access.number, data);
        else std::memcpy(data, &value, 4);
        store(mapping.window, offset, data, uint64_t(access.bytes));
    } else {
        *general(regs, access.number) = register_read(mapping.window, offset);
    }
    regs.rip += uint64_t(access.length);
    ptrace(PTRACE_SETREGS, thread, nullptr, &regs);
    return true;
}

// --- the command

pid_t group_of(pid_t thread) {
    auto cached = groups.find(thread);
    if (cached != groups.end()) return cached->second;
    std::ifstream status("/proc/" + std::to_string(thread) + "/status");
    std::string line;
    while (std::getline(status, line))
        if (line.rfind("Tgid:", 0) == 0) return groups[thread] = pid_t(atol(line.c_str() + 5));
    return thread;
}

// Let the system call under way finish; its result.
uint64_t finish_call(pid_t thread, user_regs_struct changed, const user_regs_struct &original) {
    ptrace(PTRACE_SETREGS, thread, nullptr, &changed);
    int status = 0;
    do {
        ptrace(PTRACE_SYSCALL, thread, nullptr, nullptr);
        if (waitpid(thread, &status, __WALL) < 0 || !WIFSTOPPED(status)) return uint64_t(-1);
    } while (WSTOPSIG(status) != (SIGTRAP | 0x80));
    user_regs_struct after;
    ptrace(PTRACE_GETREGS, thread, nullptr, &after);
    after.rdi = original.rdi, after.rdx = original.rdx, after.r10 = original.r10;
    ptrace(PTRACE_SETREGS, thread, nullptr, &after);
    return after.rax;
}

void give_pages(pid_t process, uint64_t address, uint64_t length) {
    if (memory_used + length > MEMORY) return;
    host_pages.push_back({process, address, length, PHYSICAL + memory_used});
    memory_used += length;
    if (fault == "absent-frames") return;
    const int file = open((root + "/proc/self/pagemap").c_str(), O_WRONLY | O_CLOEXEC);
    std::vector<uint64_t> entries(length / PAGE);
    for (uint64_t i = 0; i < entries.size(); i++) {
        uint64_t frame = host_pages.back().physical / PAGE + i;
        if (fault == "hidden-frames") frame = 0;
        if (fault == "scattered-frames") frame *= 2;
        entries[i] = frame | uint64_t{1} << 63;
    }
    const ssize_t size = ssize_t(entries.size() * 8);
    if (pwrite(file, entries.data(), size_t(size), off_t(address / PAGE * 8)) != size) perror("machine: pagemap");
    close(file);
}

void on_mmap(pid_t thread) {
    user_regs_struct regs, changed;
    ptrace(PTRACE_GETREGS, thread, nullptr, &regs);
    changed = regs;
    const pid_t process = group_of(thread);
    char target[4096];
    const std::string link = "/proc/" + std::to_string(thread) + "/fd/" + std::to_string(int(regs.r8));
    const ssize_t length = readlink(link.c_str(), target, sizeof target - 1);
    if (length <= 0) return;
    const std::string path(target, size_t(length)), devices = root + "/sys/bus/pci/devices/";
    if (path.rfind(root + "/dev/hugepages/", 0) == 0) {
        changed.rdi = LOW + memory_used;
        const uint64_t address = finish_call(thread, changed, regs);
        if (address == changed.rdi) give_pages(process, address, (regs.rsi + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
        return;
    }
    if (path.rfind(devices, 0) != 0) return;
    const std::string name = path.substr(path.rfind('/') + 1), function = path.substr(devices.size(), 12);
    Window window;
    if (name == "resource0") window = Window::OCL;
    else if (name == "resource4_wc") window = Window::PCIS;
    else if (name == "resource4") window = Window::SDA;
    else return;
    if (window != Window::SDA) config_file = devices + function + "/config";
    changed.rdx = PROT_NONE;
    const uint64_t address = finish_call(thread, changed, regs);
    if (address < uint64_t(-4095)) mappings[process].push_back({address, regs.rsi, window});
}

bool on_fault(pid_t thread) {
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, thread, nullptr, &info) != 0 || info.si_code != SEGV_ACCERR) return false;
    const uint64_t address = reinterpret_cast<uint64_t>(info.si_addr);
    auto own = mappings.find(group_of(thread));
    if (own == mappings.end()) return false;
    for (auto it = own->second.rbegin(); it != own->second.rend(); ++it) {
        if (address < it->address || address >= it->address + it->length) continue;
        if (!perform(thread, *it, address - it->address)) kill(own->first, SIGILL);
        return true;
    }
    return false;
}

[[noreturn]] void become(char **command) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    // Of every system call only mmap of shared files is of interest.
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xFFFFFFFF, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
    };
    sock_fprog program{sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) perror("machine: seccomp");
    execvp(command[0], command);
    perror(command[0]);
    _exit(91);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "machine LIBRARY ROOT FAULT AFTER COMMAND...\n");
        return 90;
    }
    root = argv[2], fault = argv[3], fault_after = strtoull(argv[4], nullptr, 10);
    dead = fault == "dead";
    load_core(argv[1]);
    memory = static_cast<uint8_t *>(mmap(nullptr, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    sigset_t children;
    sigemptyset(&children), sigaddset(&children, SIGCHLD);
    const pid_t command = fork();
    if (command == 0) become(argv + 5);
    sigprocmask(SIG_BLOCK, &children, nullptr);
    signal(SIGINT, SIG_IGN), signal(SIGTERM, SIG_IGN);
    int status = 0;
    waitpid(command, &status, __WALL);
    const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC |
                         PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    ptrace(PTRACE_SETOPTIONS, command, nullptr, options);
    known.insert(command);
    ptrace(PTRACE_CONT, command, nullptr, nullptr);
    for (;;) {
        const pid_t thread = waitpid(-1, &status, __WALL | WNOHANG);
        if (thread < 0) return 92;
        if (thread == 0) {
            look_around();
            run_core(BACKGROUND_CYCLES);
            const timespec pause{0, POLL_NS};
            sigtimedwait(&children, nullptr, &pause);
            continue;
        }
        if (!WIFSTOPPED(status)) {
            known.erase(thread), groups.erase(thread), mappings.erase(thread);
            for (size_t i = host_pages.size(); i-- > 0;)
                if (host_pages[i].process == thread) host_pages.erase(host_pages.begin() + long(i));
            if (thread != command) continue;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        int number = WSTOPSIG(status);
        const int event = status >> 16;
        if (event == PTRACE_EVENT_SECCOMP) on_mmap(thread), number = 0;
        else if (event) number = 0;
        else if (number == SIGSTOP && known.insert(thread).second) number = 0;
        else if (number == SIGSEGV && on_fault(thread)) number = 0;
        else if (number == (SIGTRAP | 0x80)) number = 0;
        ptrace(PTRACE_CONT, thread, nullptr, number);
    }
}
