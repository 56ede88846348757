module example.test/vendored/v2

go 1.21

require example.test/greeting v1.0.0
