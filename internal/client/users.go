package client

import "context"

// User is an account.
type User struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Fullname string `json:"fullname,omitempty"`
	Email    string `json:"email"`
}

// Self returns the user the token belongs to.
func (c *Client) Self(ctx context.Context) (User, error) {
	var answer struct {
		User User `json:"user"`
	}
	_, err := c.do(ctx, request{method: "GET", path: "/users/self", want: []int{200}, doing: "cannot ask who you are"}, &answer)
	return answer.User, err
}
