module example.test/shop/gateway

go 1.19
