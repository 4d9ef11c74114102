// NCCL without GPUs, for tests: ranks are threads of one process, and memory is the host's. Sums have the order of the
// ring over sockets: they begin at the rank after the one where they end. Every call is remembered.

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {
enum Status { success = 0, system_error = 2, invalid_argument = 4, invalid_usage = 5 };
constexpr int float32 = 7, sum = 0;

struct Call {
    bool reduces;
    const float *from;
    float *to;
    size_t count;
    int root;
    bool fits(const Call &other) const {
        return reduces == other.reduces && count == other.count && root == other.root;
    }
};

struct Meeting {
    std::condition_variable changed;
    std::vector<std::vector<Call>> groups;
    int size, joined = 0, came = 0, round = 0, status = success;
};

struct Comm {
    Meeting *meeting;
    int rank;
    std::string calls;
};

std::mutex lock;
std::map<unsigned, Meeting> meetings;
unsigned last = 0;
thread_local int depth = 0;
thread_local Comm *own = nullptr;
thread_local std::vector<Call> group;

template <class Done> int wait(std::unique_lock<std::mutex> &held, Meeting &meeting, Done done) {
    return meeting.changed.wait_for(held, std::chrono::seconds(60), done) ? int(success) : int(system_error);
}

int run(Meeting &meeting) {
    for (auto &calls : meeting.groups) {
        if (calls.size() != meeting.groups[0].size()) return invalid_usage;
    }
    for (size_t index = 0; index < meeting.groups[0].size(); index++) {
        const Call &first = meeting.groups[0][index];
        for (auto &calls : meeting.groups) {
            if (!calls[index].fits(first)) return invalid_usage;
        }
        const Call &root = meeting.groups[first.root][index];
        for (size_t i = 0; first.reduces && i < first.count; i++) {
            float total = meeting.groups[(first.root + 1) % meeting.size][index].from[i];
            for (int step = 2; step <= meeting.size; step++) {
                total += meeting.groups[(first.root + step) % meeting.size][index].from[i];
            }
            root.to[i] = total;
        }
        for (auto &calls : meeting.groups) {
            if (!first.reduces) memmove(calls[index].to, root.from, first.count * sizeof(float));
        }
    }
    return success;
}

int add(Comm *comm, bool reduces, const void *from, void *to, size_t count, int type, int root) {
    if (depth == 0 || (own && own != comm) || group.size() == 2048) return invalid_usage;
    if (type != float32 || root < 0 || root >= comm->meeting->size) return invalid_argument;
    own = comm;
    group.push_back({reduces, static_cast<const float *>(from), static_cast<float *>(to), count, root});
    comm->calls += (reduces ? "reduce " : "broadcast ") + std::to_string(count) + " f32 at " + std::to_string(root) + "\n";
    return success;
}
}

extern "C" {
struct UniqueId {
    char bytes[128];
};

int ncclGetUniqueId(UniqueId *id) {
    std::lock_guard<std::mutex> held(lock);
    memset(id, 0, sizeof *id);
    unsigned number = ++last;
    memcpy(id->bytes + 100, &number, sizeof number);
    return success;
}

int ncclCommInitRank(Comm **comm, int size, UniqueId id, int rank) {
    unsigned number;
    memcpy(&number, id.bytes + 100, sizeof number);
    std::unique_lock<std::mutex> held(lock);
    if (number == 0 || number > last || rank < 0 || rank >= size) return invalid_argument;
    Meeting &meeting = meetings[number];
    meeting.size = size;
    meeting.groups.resize(size);
    meeting.joined++;
    meeting.changed.notify_all();
    *comm = new Comm{&meeting, rank, ""};
    return wait(held, meeting, [&] { return meeting.joined >= size; });
}

int ncclCommAbort(Comm *comm) {
    delete comm;
    return success;
}

int ncclGroupStart() {
    depth++;
    return success;
}

int ncclGroupEnd() {
    if (--depth > 0 || !own) return success;
    Comm &comm = *own;
    Meeting &meeting = *comm.meeting;
    own = nullptr;
    comm.calls += "end\n";
    std::unique_lock<std::mutex> held(lock);
    meeting.groups[comm.rank].swap(group);
    group.clear();
    int round = meeting.round;
    if (++meeting.came < meeting.size) {
        int waited = wait(held, meeting, [&] { return meeting.round != round; });
        return waited == success ? meeting.status : waited;
    }
    meeting.status = run(meeting);
    meeting.came = 0;
    meeting.round++;
    meeting.changed.notify_all();
    return meeting.status;
}

int ncclReduce(const void *from, void *to, size_t count, int type, int operation, int root, Comm *comm, void *) {
    return operation == sum ? add(comm, true, from, to, count, type, root) : int(invalid_argument);
}

int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, Comm *comm, void *) {
    return add(comm, false, from, to, count, type, root);
}

const char *ncclGetErrorString(int status) {
    switch (status) {
    case success: return "no error";
    case system_error: return "unhandled system error";
    case invalid_argument: return "invalid argument";
    default: return "invalid usage";
    }
}

const char *recorded(Comm *comm) { return comm->calls.c_str(); }
}
