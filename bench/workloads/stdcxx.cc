// SPDX-License-Identifier: MIT
// libstdc++: streams, locales, regex, containers, threads, exceptions.
#include "workload.h"

#include <algorithm>
#include <any>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <future>
#include <iomanip>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <typeinfo>
#include <unordered_map>
#include <variant>
#include <vector>

namespace
{

struct Animal {
    virtual ~Animal() = default;
};
struct Monkey : Animal {
    int tail = 3;
};
struct Bird : Animal {
};

std::string streams()
{
    std::ostringstream out;
    out << std::fixed << std::setprecision(3) << 3.14159 << ' ' << std::hex
        << std::showbase << 255 << ' ' << std::boolalpha << true << ' '
        << std::setw(10) << std::setfill('*') << "right" << ' '
        << std::scientific << 12345.678L << '\n';
    std::istringstream in("12 0x1f 2.5 word true 9999999999999999999999");
    int a, b;
    double c;
    std::string d;
    bool e;
    long f;
    in >> a >> std::hex >> b >> std::dec >> c >> d >> std::boolalpha >> e >> f;
    out << a << b << c << d << e << in.fail() << '\n';
    std::wostringstream wide;
    wide << L"wide " << 42 << L' ' << 2.5;
    out << wide.str().size() << '\n';
    return out.str();
}

std::string containers()
{
    std::ostringstream out;
    std::mt19937_64 random(5);
    std::map<std::string, int> map;
    std::unordered_map<int, std::string> hash;
    std::set<int> set;
    std::list<int> list;
    std::deque<std::string> deque;
    for (int i = 0; i < 3000; i++) {
        int value = int(random() % 1000);
        map["key" + std::to_string(value)] += i;
        hash[value] = std::to_string(i);
        set.insert(value);
        list.push_back(value);
        deque.push_front(std::string(std::size_t(value % 40), 'x'));
        if (i % 5 == 0)
            set.erase(value);
    }
    list.sort();
    list.unique();
    out << map.size() << ' ' << hash.size() << ' ' << set.size() << ' '
        << list.size() << ' ' << deque.size() << ' ' << map.begin()->second
        << ' ' << map.rbegin()->first << ' '
        << std::accumulate(list.begin(), list.end(), 0L) << '\n';
    return out.str();
}

std::string texts()
{
    std::ostringstream out;
    std::regex expression("(\\w+)@(\\w+)\\.com", std::regex::icase);
    std::string text = "write to Ann@example.com or bob@Test.com";
    for (std::sregex_iterator i(text.begin(), text.end(), expression), end;
         i != end; ++i)
        out << (*i)[1] << " at " << (*i)[2] << '\n';
    out << std::regex_replace(text, expression, "<$2>") << '\n';
    char digits[32];
    auto ended = std::to_chars(digits, digits + 32, 0.1);
    out << std::string(digits, ended.ptr) << ' ' << std::stod("1e-3") << ' '
        << std::stoi("077", nullptr, 0) << '\n';
    text.insert(5, "12345").replace(0, 2, "WRITE").erase(10, 3);
    out << text << ' ' << text.find("bob") << ' ' << text.rfind('@') << '\n';
    return out.str();
}

template <typename F> std::string caught(F body)
{
    try {
        body();
        return "nothing\n";
    } catch (const std::system_error &e) {
        return std::string("system: ") + std::to_string(e.code().value()) +
               '\n';
    } catch (const std::exception &e) {
        return std::string(typeid(e).name()) + '\n';
    } catch (int value) {
        return std::to_string(value) + '\n';
    }
}

std::string exceptions()
{
    std::string out;
    Monkey monkey;
    Animal &animal = monkey;
    out += caught([] { throw 42; });
    out += caught([] { std::vector<int>().at(3); });
    out += caught([] { std::string("abc").substr(9); });
    out += caught([&] { (void)dynamic_cast<Bird &>(animal); });
    out += caught([] { std::any_cast<int>(std::any(2.5)); });
    out += caught([] { std::stoi("x"); });
    out += caught([] { std::get<0>(std::variant<int, char>('a')); });
    out += caught([] { std::function<void()>()(); });
    out += caught([] { throw std::system_error(2, std::generic_category()); });
    out += caught([] { std::regex("("); });
    out += caught([] {
        try {
            throw std::runtime_error("inner");
        } catch (...) {
            std::rethrow_exception(std::current_exception());
        }
    });
    out += caught([] {
        std::ifstream file;
        file.exceptions(std::ios::failbit);
        file.open("/does/not/exist");
    });
    out += dynamic_cast<Monkey *>(&animal) ? "monkey\n" : "?\n";
    return out;
}

std::string threads()
{
    std::mutex mutex;
    std::condition_variable condition;
    int sum = 0, ready = 0;
    std::vector<std::thread> all;
    for (int i = 0; i < 4; i++)
        all.emplace_back([&, i] {
            for (int k = 0; k < 500; k++) {
                std::lock_guard<std::mutex> lock(mutex);
                sum += i * k;
            }
            std::lock_guard<std::mutex> lock(mutex);
            ready++;
            condition.notify_all();
        });
    {
        std::unique_lock<std::mutex> lock(mutex);
        condition.wait(lock, [&] { return ready == 4; });
    }
    for (auto &thread : all)
        thread.join();
    auto future = std::async(std::launch::async, [] { return 7; });
    std::promise<int> promise;
    promise.set_exception(std::make_exception_ptr(5));
    int thrown = 0;
    try {
        promise.get_future().get();
    } catch (int value) {
        thrown = value;
    }
    return std::to_string(sum) + ' ' + std::to_string(future.get()) + ' ' +
           std::to_string(thrown) + '\n';
}

std::string files()
{
    namespace fs = std::filesystem;
    char name[] = "/tmp/patas-work-XXXXXX";
    if (!mkdtemp(name))
        return "no directory\n";
    std::ostringstream out;
    {
        std::ofstream file(std::string(name) + "/a.txt");
        for (int i = 0; i < 200; i++)
            file << "line " << i << '\n';
    }
    std::ifstream file(std::string(name) + "/a.txt");
    std::string line;
    int lines = 0;
    while (std::getline(file, line))
        lines++;
    fs::create_directories(fs::path(name) / "b" / "c");
    out << lines << ' ' << fs::file_size(std::string(name) + "/a.txt") << ' '
        << fs::path("/x/../y/./z.tar.gz").lexically_normal().string() << ' '
        << fs::path("q/r.tar.gz").extension().string() << '\n';
    for (auto &entry : fs::recursive_directory_iterator(name))
        out << entry.is_directory();
    out << ' ' << fs::remove_all(name) << '\n';
    return out.str();
}

} // namespace

void bench_work(bench_emit emit)
{
    for (auto part : {streams, containers, texts, exceptions, threads, files}) {
        std::string text = part();
        emit(text.data(), text.size());
    }
}
