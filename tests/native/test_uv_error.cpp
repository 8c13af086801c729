#include <gtest/gtest.h>
#include <uv.h>

#include <string>

#include "pyferris/uv_error.hpp"

namespace pyferris {
namespace {

TEST(UvError, SuccessAndCountsPass) {
    EXPECT_NO_THROW(check_uv(0, "uv_loop_init"));
    EXPECT_NO_THROW(check_uv(3, "uv_run"));
}

TEST(UvError, AFailureNamesTheCallTheCodeAndItsText) {
    try {
        check_uv(UV_EMFILE, "uv_loop_init");
        FAIL() << "no exception";
    } catch (const UvError& error) {
        const std::string text = error.what();
        EXPECT_EQ(error.code(), UV_EMFILE);
        EXPECT_NE(text.find("uv_loop_init"), std::string::npos) << text;
        EXPECT_NE(text.find("EMFILE"), std::string::npos) << text;
        EXPECT_NE(text.find(uv_strerror(UV_EMFILE)), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace pyferris
